"""The record's clock, read from afar."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from shared.ports import StoreUnavailableError

if TYPE_CHECKING:
    from shared.domain.task import Millis
    from shared.ports import Record

RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class RecordClock:
    """Follows the record's time by its offset to this host's monotonic clock, so a wrong host clock does no harm.

    `synchronise` asks the record; between two calls the host's monotonic clock carries the time on.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._offset: float | None = None

    def now(self) -> Millis:
        """Milliseconds since the Unix epoch. Raises RuntimeError before the first `synchronise`."""
        if self._offset is None:
            raise RuntimeError("the clock was read before it was synchronised with the record")
        return int(time.monotonic() * 1_000 + self._offset)

    async def wait_for_record(self) -> None:
        """Synchronise for the first time, however long the record is away: without its time nothing can be promised."""
        while True:
            try:
                await self.synchronise()
            except StoreUnavailableError as error:
                log.warning("clock.waits_for_record", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def synchronise(self) -> None:
        """Ask the record for its time; the answer counts as given halfway. Raises StoreUnavailableError."""
        asked = time.monotonic()
        theirs = await self._record.server_time()
        self._offset = theirs - (asked + time.monotonic()) / 2 * 1_000
