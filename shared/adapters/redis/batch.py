"""Concurrent small calls to Redis, travelling together.

A call of its own costs the client some 200 µs, one of many that travel together a fraction of that. So the calls
that one turn of the event loop makes, and those that come while others are under way, leave as one pipeline.
It is written on the connection itself: the client's own pipeline object costs three times as much a command.
"""

from __future__ import annotations

import asyncio
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

import hiredis
from redis import exceptions

from shared.ports import StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from redis.asyncio import BlockingConnectionPool

MOST_IN_FLIGHT = 2
"""Pipelines under way at once. More would be smaller ones; with one, a call could wait two round trips."""

MOST_CALLS = 256
"""Calls in a pipeline, so that one does not hold up the server, or the memory, for long."""

AWAY = (
    exceptions.ConnectionError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
)
"""Replies of a server that cannot do its work just now."""

UNREACHABLE = (exceptions.ConnectionError, exceptions.TimeoutError, TimeoutError, OSError)


class CallBatcher:
    """Sends concurrent commands as pipelines, each within a deadline.

    A pipeline whose connection breaks is sent once more, on another: every command given to it must bear that.
    A cancelled caller stops waiting; its command, already on the way, is carried out all the same, and the
    connection stays sound.
    """

    def __init__(self, pool: BlockingConnectionPool, *, deadline: float) -> None:
        """`deadline`: seconds within which a call is answered or fails."""
        self._pool = pool
        self._deadline = deadline
        self._pending: list[tuple[list[bytes], asyncio.Future[list[Any]], float]] = []
        self._senders: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._closed = False

    async def call(self, *command: str | bytes | int) -> Any:
        """The reply to one command.

        Raises StoreUnavailableError, StoreFullError, or the server's own `ResponseError` for a bad command.
        """
        (reply,) = await self.call_all([command])
        return reply

    async def call_all(self, commands: Iterable[tuple[str | bytes | int, ...]]) -> list[Any]:
        """The replies to several commands that travel together; raises what `call` does, for the first that fails."""
        replies = await self.call_each(commands)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies

    async def call_each(self, commands: Iterable[tuple[str | bytes | int, ...]]) -> list[Any]:
        """Like `call_all`, but in the place of each reply that failed stands what `call` would have raised."""
        if self._closed:
            raise StoreUnavailableError("the store client is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()
        # The stub takes the tuple to have one item.
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]
        if not packed:
            return []
        self._pending.append((packed, future, loop.time() + self._deadline))
        if self._under_way < MOST_IN_FLIGHT:
            self._under_way += 1
            sender = asyncio.create_task(self._send_all())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return await future

    async def close(self) -> None:
        """Wait for what is under way; every caller gets its answer. Whoever tries again later is refused at once."""
        self._closed = True
        while self._senders:
            await asyncio.wait(self._senders)

    async def _send_all(self) -> None:
        try:
            while self._pending:
                await self._send_some()
        finally:
            # In the same turn that found nothing to send: a call of the next one must start another sender.
            self._under_way -= 1

    async def _send_some(self) -> None:
        batch, self._pending = self._pending[:MOST_CALLS], self._pending[MOST_CALLS:]
        replies: Iterator[Any]
        try:
            # The deadline of the call that has waited longest, behind other pipelines perhaps, holds for all.
            sent = [command for commands, _, _ in batch for command in commands]
            replies = iter(await self._exchange(sent, until=batch[0][2]))
        except UNREACHABLE as error:
            replies = repeat(_unavailable(error))
        except BaseException as error:
            # Nobody else knows of these callers: they must not wait for ever, whatever went wrong.
            for _, future, _ in batch:
                if not future.done():
                    future.set_exception(StoreUnavailableError(f"the store client failed: {error!r}"))
            raise
        for commands, future, _ in batch:
            own = [_translated(reply) for reply in islice(replies, len(commands))]
            if not future.done():
                future.set_result(own)

    async def _exchange(self, commands: list[bytes], *, until: float) -> list[Any]:
        if until <= asyncio.get_running_loop().time():
            raise TimeoutError
        async with asyncio.timeout_at(until):
            try:
                return await self._exchange_once(commands)
            except (exceptions.ConnectionError, OSError):
                # Most often the connection died while it was idle.
                return await self._exchange_once(commands)

    async def _exchange_once(self, commands: list[bytes]) -> list[Any]:
        connection = await self._pool.get_connection()
        try:
            await connection.send_packed_command(commands, check_health=False)
            # The connection's own method prepares for each reply what to say of a failure, and takes thrice as long.
            parser = connection._parser  # noqa: SLF001
            return [await parser.read_response() for _ in commands]
        except BaseException:
            # Replies that nobody reads any more must not meet the next commands.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)


def _translated(reply: Any) -> Any:
    """A reply; an error of the server as the port names it."""
    if not isinstance(reply, BaseException):
        return reply
    if isinstance(reply, exceptions.OutOfMemoryError):
        return StoreFullError("the store has reached its memory limit")
    return _unavailable(reply) if isinstance(reply, AWAY) else reply


def _unavailable(error: BaseException) -> StoreUnavailableError:
    return StoreUnavailableError(f"the store did not answer: {str(error) or type(error).__name__}")
