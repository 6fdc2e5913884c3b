"""The client for code without an event loop: the same calls, each of which blocks its thread."""

from __future__ import annotations

import asyncio
import functools
import threading
import weakref
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Self, TypeVar

from taskcast.client.client import DEFAULT_ADDRESS, Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from types import TracebackType

    from taskcast.client.errors import TaskcastError

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_CLOSE_SECONDS = 2.0
"""How long calls under way may take to notice that the connection was closed."""


class _End:
    """Says that there is no further update."""


_END: Final = _End()


class _Loop:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._is_open = True
        # A daemon, so that a program which never closes its client can end.
        self._thread = threading.Thread(target=self._loop.run_forever, name="taskcast client", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        """Run a coroutine to its end. What interrupts the waiting, like Ctrl-C, cancels it."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("a callback of the SyncClient must not call it: it would wait for itself")
        with self._lock:
            if not self._is_open:
                coroutine.close()
                raise RuntimeError("the SyncClient is not open: use it in `with SyncClient(...) as client`")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def leave(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine without waiting for it, and not at all once the loop is closed."""
        with self._lock:
            if self._is_open:
                asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            else:
                coroutine.close()

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a last coroutine, let the others come to their end, and stop. Does nothing the second time."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
        try:
            asyncio.run_coroutine_threadsafe(_finish(last()), self._loop).result()
        finally:
            self.stop()

    def stop(self) -> None:
        """End the thread; what is still running is left where it is."""
        self._is_open = False
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _finish(last: Coroutine[Any, Any, None]) -> None:
    await last
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, late = await asyncio.wait(others, timeout=_CLOSE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


def _call(
    method: Callable[Concatenate[Client, Arguments], Coroutine[Any, Any, Answer]],
) -> Callable[Concatenate[SyncClient, Arguments], Answer]:
    """The same method, run to its end."""

    @functools.wraps(method)
    def call(self: SyncClient, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        return self._running().run(method(self._client, *args, **kwargs))

    return call


def _iterate(
    method: Callable[Concatenate[Client, Arguments], AsyncGenerator[Answer, None]],
) -> Callable[Concatenate[SyncClient, Arguments], Generator[Answer, None, None]]:
    """The same method as a plain iterator."""

    @functools.wraps(method)
    def iterate(
        self: SyncClient, /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Generator[Answer, None, None]:
        return _walk(self._running(), method(self._client, *args, **kwargs))

    return iterate


def _walk(loop: _Loop, updates: AsyncGenerator[Answer, None]) -> Generator[Answer, None, None]:
    turn = asyncio.Lock()

    async def step() -> Answer | _End:
        async with turn:
            return await anext(updates, _END)

    async def leave() -> None:
        # A step that was interrupted has to come to its end first.
        async with turn:
            await updates.aclose()

    try:
        while not isinstance(update := loop.run(step()), _End):
            yield update
    finally:
        # Without waiting: the garbage collector may be what ends this, on whatever thread.
        loop.leave(leave())


class SyncClient:
    """The calls of Client for code without an event loop.

        with SyncClient("127.0.0.1:50051") as client:
            task = client.submit("image.thumbnail", {"source": "in.png", "target": "out.png"})
            for update in client.watch(task.id):
                print(update)

    Each method takes, answers and raises what the one of the same name in Client does; what is an async iterator
    there is a plain one here, and leaving its loop ends the watch. Any number of threads may use one SyncClient,
    each iterator by one thread at a time. The calls run on one event loop in a thread of the client's own.
    Ctrl-C interrupts a call that waits, and leaves the client fit for use.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        deadline: float = 30.0,
        on_retry: Callable[[TaskcastError, float], None] | None = None,
    ) -> None:
        """As Client. `on_retry` is called on the client's own thread, and must not call the client."""
        self.address = address
        self._client = Client(address, deadline=deadline, on_retry=on_retry)
        self._loop: _Loop | None = None

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise RuntimeError("a SyncClient can be entered once; make another one")
        self._loop = _Loop()
        weakref.finalize(self, self._loop.stop)
        self._loop.run(_open(self._client))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Calls and watches of other threads end with TaskcastError (CANCELLED)."""
        if self._loop is not None:
            self._loop.close(self._client.close)

    submit = _call(Client.submit)
    get = _call(Client.get)
    cancel = _call(Client.cancel)
    retry = _call(Client.retry)
    wait = _call(Client.wait)
    submit_and_wait = _call(Client.submit_and_wait)
    submit_many = _call(Client.submit_many)
    get_many = _call(Client.get_many)
    cancel_many = _call(Client.cancel_many)
    list = _iterate(Client.list)
    watch = _iterate(Client.watch)
    watch_many = _iterate(Client.watch_many)
    watch_filter = _iterate(Client.watch_filter)
    queues = _call(Client.queues)
    workers = _call(Client.workers)
    webhook_deliveries = _iterate(Client.webhook_deliveries)
    redeliver_webhook = _call(Client.redeliver_webhook)
    redeliver_failed_webhooks = _call(Client.redeliver_failed_webhooks)

    def _running(self) -> _Loop:
        if self._loop is None:
            raise RuntimeError("the SyncClient is not open: use it in `with SyncClient(...) as client`")
        return self._loop


async def _open(client: Client) -> None:
    await client.__aenter__()
