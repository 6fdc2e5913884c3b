"""Keeps the leases of running attempts, from a thread of its own.

A handler that blocks the event loop is slow, not dead: its lease must go on being renewed meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import structlog

from shared.domain.commands import RenewLease
from shared.journal import Journal, Refused
from shared.ports import StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.ports import Clock, Record

RENEWALS_PER_LEASE = 3
"""Two renewals may fail before a lease is lost."""

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Renews what is held, and tells when an attempt has lost its lease. Short attempts cost it nothing."""

    def __init__(
        self,
        open_record: Callable[[], Record],
        clock: Clock,
        *,
        lease: float,
        on_lost: Callable[[str, int], None],
    ) -> None:
        """`lease`: seconds. `on_lost(task_id, attempt)` is called on the event loop that calls `start`."""
        self._open_record = open_record
        self._clock = clock
        self._lease = lease
        self._on_lost = on_lost
        self._held: dict[str, tuple[int, float]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Begin to keep leases."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def hold(self, task_id: str, attempt: int) -> None:
        """The attempt was claimed just now."""
        self._held[task_id] = (attempt, time.monotonic())

    def release(self, task_id: str, attempt: int) -> None:
        """The attempt has ended."""
        held = self._held.get(task_id)
        if held is not None and held[0] == attempt:
            del self._held[task_id]

    def check_all(self) -> None:
        """Ask the record now whether every attempt still holds: news may have been missed."""
        for task_id, (attempt, _) in list(self._held.items()):
            self._held[task_id] = (attempt, 0.0)
        self._wake.set()

    async def stop(self) -> None:
        """Stop the thread; leases still held run out."""
        self._stopping = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        record = self._open_record()
        journal = Journal(record, self._clock, lambda _key, _body: None)  # A renewal is no event.
        every = self._lease / RENEWALS_PER_LEASE
        try:
            while not self._stopping:
                # This thread has nothing else to do, so it may block.
                self._wake.wait(every / 2)
                self._wake.clear()
                due = time.monotonic() - every / 2
                await asyncio.gather(
                    *(
                        self._renew(journal, task_id, attempt)
                        for task_id, (attempt, renewed) in list(self._held.items())
                        if renewed <= due
                    )
                )
        finally:
            await record.close()

    async def _renew(self, journal: Journal, task_id: str, attempt: int) -> None:
        began = time.monotonic()
        try:
            answer = await journal.execute(task_id, RenewLease(attempt=attempt, lease=int(self._lease * 1_000)))
        except (StoreUnavailableError, StoreFullError) as error:
            log.warning("lease.not_renewed", task_id=task_id, attempt=attempt, error=str(error))
            return
        held = self._held.get(task_id)
        if held is None or held[0] != attempt:
            return
        if isinstance(answer, Refused):
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._on_lost, task_id, attempt)
        else:
            self._held[task_id] = (attempt, began)
