"""How a service starts, is kept alive and stops."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

RESTART_PAUSE_SECONDS = 1.0
"""A child that dies is started again, but not in a hot loop."""

TOLD_AGAIN_SECONDS = 3.0
"""Longer than an orderly farewell takes, which the second word would break off."""

PR_SET_PDEATHSIG = 1
"""Linux, prctl(2)."""

GARBAGE_THRESHOLDS = (10_000, 20, 20)
"""A call on many tasks has many objects alive at once, and hardly any in cycles. Looked through after every 700 new
ones, as Python does by default, they cost a twelfth of the processor time of a batch."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


def run(main: Callable[[asyncio.Event], Coroutine[None, None, None]]) -> None:
    """Run `main` on an event loop; the event it is given is set on SIGTERM and SIGINT."""

    async def with_signals() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stopping.set)
        await main(stopping)

    # What the imports have made lives as long as the process.
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(with_signals())


async def serve_until(stopping: asyncio.Event, service: AbstractAsyncContextManager[object]) -> None:
    """Keep `service` entered until `stopping` is set; a start that is still waiting for something is given up then."""
    starting = asyncio.ensure_future(service.__aenter__())
    told = asyncio.ensure_future(stopping.wait())
    await asyncio.wait([starting, told], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        await stop_all([starting])
        return
    try:
        await starting
        await told
    finally:
        told.cancel()
    await service.__aexit__(None, None, None)


async def repeat(name: str, every: float, step: Callable[[], Awaitable[None]]) -> None:
    """Do `step` every so many seconds until cancelled. A failing step is logged and does not end the loop.

    This is the one place where a background job's errors end up.
    """
    failing = False
    while True:
        began = time.monotonic()
        try:
            await step()
            failing = False
        except Exception as error:
            # Background jobs fail together with what they depend on: say it once, not every round.
            if not failing:
                log.warning("background.failed", job=name, error=str(error), exc_info=_is_unexpected(error))
            failing = True
        await asyncio.sleep(max(every - (time.monotonic() - began), every / 10))


async def stop_all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended.

    A library may lose a cancellation that meets one of its calls: whoever does not end in time is told again.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=TOLD_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


class Supervisor:
    """Keeps `count` copies of a command running, until it is told to stop; then they are told, and waited for."""

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        environment: Mapping[str, str],
        *,
        on_death: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`on_death` is called with the process id of each copy that has died, before another takes its place."""
        self._command = list(command)
        self._on_death = on_death
        self._environment = {**os.environ, **environment}
        self._count = count
        self._children: list[subprocess.Popen[bytes]] = []
        self._stopping = False

    def run(self) -> None:
        """Return once all copies have ended after SIGTERM or SIGINT."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)
        while len(self._children) < self._count and not self._stopping:
            self._start()
        while not self._stopping:
            # The children hear of a stop at once, from the signal handler; this loop within a moment.
            time.sleep(RESTART_PAUSE_SECONDS / 2)
            dead = [child for child in self._children if child.poll() is not None]
            for child in dead:
                log.warning("child.ended", pid=child.pid, status=child.returncode)
                self._on_death(child.pid)
            if dead:
                time.sleep(RESTART_PAUSE_SECONDS)
            for child in dead:
                if not self._stopping:
                    self._children.remove(child)
                    self._start()
        for child in self._children:
            child.wait()

    def _start(self) -> None:
        child = subprocess.Popen(self._command, env=self._environment, preexec_fn=dying_with_parent())  # noqa: PLW1509
        self._children.append(child)
        if self._stopping:
            # The signal came while it was being started, and the handler may not have known of it.
            child.terminate()

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True
        for child in self._children:
            child.terminate()


def dying_with_parent() -> Callable[[], None] | None:
    """For `subprocess.Popen(preexec_fn=…)`: have the kernel end the child when this process dies, however it dies.

    None where the system has no such call; only Linux does. Not to be used while other threads run.
    """
    if sys.platform != "linux":
        return None
    parent = os.getpid()

    def ask() -> None:
        import ctypes  # noqa: PLC0415  # Nobody else needs it.

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # It died before the kernel was told.

    return ask


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415  # There is none for Windows.

    return uvloop.new_event_loop


def _is_unexpected(error: Exception) -> bool:
    from shared.ports import BrokerUnavailableError, StoreUnavailableError  # noqa: PLC0415

    return not isinstance(error, (BrokerUnavailableError, StoreUnavailableError))
