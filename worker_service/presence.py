"""Lets a worker be seen: what it is and what it does, told to the catalogue while it lives."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from shared.ports import StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from shared.domain.task import Millis
    from shared.ports import Catalogue, WorkerReport

REPORT_SECONDS = 2.0

REPORT_KEPT: Millis = 8_000
"""A worker that died is seen for so long. Three reports may fail before a living one is not."""

log = structlog.get_logger(__name__)


class Presence:
    """Reports from a thread of its own: a handler that blocks the event loop hides nobody."""

    def __init__(
        self,
        open_catalogue: Callable[[], AbstractAsyncContextManager[Catalogue]],
        look: Callable[[], WorkerReport],
    ) -> None:
        """`look` says what there is to report now. Both are called in the thread."""
        self._open_catalogue = open_catalogue
        self._look = look
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    async def stop(self) -> None:
        """Withdraw: the worker is not seen any more."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        asyncio.run(self._report())

    async def _report(self) -> None:
        seen = True
        async with self._open_catalogue() as catalogue:
            while not self._stopping.is_set():
                try:
                    await catalogue.report(self._look(), ttl=REPORT_KEPT)
                    seen = True
                except (StoreUnavailableError, StoreFullError) as error:
                    # It fails together with all else: say it once.
                    if seen:
                        log.warning("presence.not_reported", error=str(error))
                    seen = False
                # This thread has nothing else to do, so it may block.
                self._stopping.wait(REPORT_SECONDS)
            # Where the record is away nobody sees the worker, and its last report runs out by itself.
            with suppress(StoreUnavailableError):
                await catalogue.withdraw(self._look().name)
