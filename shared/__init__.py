"""What both services share: the rules, the ports, and the adapters that stand behind the ports."""
