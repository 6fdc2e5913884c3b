"""Taskcast's client side: the client, the contract in `taskcast.v1`, and the command line.

from taskcast import Client, SyncClient
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskcast.client import Client, SyncClient, TaskcastError, submission

__all__ = ["Client", "SyncClient", "TaskcastError", "submission"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # On demand: the services import `taskcast.v1` only, and have no use for the client.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from taskcast import client  # noqa: PLC0415

        return getattr(client, name)
