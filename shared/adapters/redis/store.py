"""The connection that record and catalogue share, and the scripts that run at its other end."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from shared.adapters.redis.batch import CallBatcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Argument = str | bytes | int

Run = tuple["Sequence[str]", "Sequence[Argument]"]
"""Keys and arguments of one run of a script."""


class Script:
    """A Lua script of this package."""

    def __init__(self, name: str) -> None:
        self.source = resources.files(__package__).joinpath(f"lua/{name}.lua").read_bytes()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


class RedisStore:
    """One Redis or Valkey server."""

    def __init__(self, url: str, *, deadline: float, connections: int) -> None:
        """`url` as redis-py takes it; `deadline`: seconds for one call."""
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=deadline,
            # The batcher bounds a whole exchange; a timer for each read would cost more than the read.
            socket_timeout=None,
            socket_connect_timeout=deadline,
            retry=Retry(NoBackoff(), 0),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            client_name="taskcast",
        )
        self._batcher = CallBatcher(self._pool, deadline=deadline)

    async def call(self, *command: Argument) -> Any:
        """See `CallBatcher.call`."""
        return await self._batcher.call(*command)

    async def call_all(self, commands: Iterable[tuple[Argument, ...]]) -> list[Any]:
        """See `CallBatcher.call_all`."""
        return await self._batcher.call_all(commands)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """The reply of one run; see `run_all`."""
        (reply,) = await self.run_all(script, [(keys, arguments)])
        return reply

    async def run_all(self, script: Script, runs: Sequence[Run]) -> list[Any]:
        """The replies of several runs of a script, which must bear to be run twice; they travel together.

        Raises what the first that failed says.
        """
        replies = await self.run_each(script, runs)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies

    async def run_each(self, script: Script, runs: Sequence[Run]) -> list[Any]:
        """Like `run_all`, but what a run that failed would raise stands in the place of its reply."""
        calls = [(len(keys), *keys, *arguments) for keys, arguments in runs]
        replies = await self._batcher.call_each(("EVALSHA", script.sha, *call) for call in calls)
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
        if unknown:
            # The server is new or has been restarted. EVAL runs the script and keeps it for the next time.
            again = await self._batcher.call_each(("EVAL", script.source, *calls[index]) for index in unknown)
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        return replies

    async def close(self) -> None:
        """Answer every caller, then let go of the connections."""
        await self._batcher.close()
        await self._pool.aclose()
