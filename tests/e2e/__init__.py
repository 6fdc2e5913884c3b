"""The whole system as its users meet it: gateways and workers as processes, on real servers."""
