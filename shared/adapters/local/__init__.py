"""The broker inside this process, for embedded mode."""

from shared.adapters.local.broker import LocalBroker

__all__ = ["LocalBroker"]
