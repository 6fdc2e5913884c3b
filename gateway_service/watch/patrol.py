"""The slow look at the record that backs up the broadcast, for all watches of this process at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_service.faults import WatchBehindError
from gateway_service.watch.feed import Survey
from shared.ports import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_service.watch.hub import EventHub
    from shared.domain.task import Millis
    from shared.ports import Catalogue, Clock, Record

LOOK_SECONDS = 5.0
"""So often what is watched is compared with the record: a broadcast may be lost without a trace."""

LOOK_SECONDS_UNHEARD = 0.5
"""The same while no broadcasts arrive at all."""

STEP_SECONDS = 0.25

LONGEST_PAUSE: Millis = 9_000
"""A task is kept for ten seconds after its end at least. Without a look for so long, one may have gone unseen."""

AT_ONCE = 256
"""Tasks asked for in one call, so that other calls come in between."""


@dataclass(frozen=True, slots=True)
class _Look:
    """When the record was looked at: by its own clock, and by one of this host that never jumps, in seconds."""

    began: Millis
    at: float

    def went_back_since(self, last: _Look) -> float:
        """By how many milliseconds the record's clock has been set back since `last`; negative if it was set ahead."""
        return (self.at - last.at) * 1_000 - (self.began - last.began)


class Patrol:
    """Tells watches which of their tasks have moved on in the record, whatever was broadcast of them.

    It costs a read for each task that is watched by its id, and for each that changed if any watch is by filter,
    however many watches there are.
    """

    def __init__(self, record: Record, catalogue: Catalogue, hub: EventHub, clock: Clock, *, late: Millis) -> None:
        """`late`: an event may be recorded so long after the time that it bears."""
        self._record = record
        self._catalogue = catalogue
        self._hub = hub
        self._clock = clock
        self.late = late
        self._looked_at = -LOOK_SECONDS
        self._last: dict[str, _Look] = {}

    async def walk(self) -> None:
        """Look whenever it is time, or events were missed, until cancelled.

        If the record cannot be reached, every watch ends with that.
        """
        while True:
            await self._until_due()
            self._looked_at = time.monotonic()
            self._hub.missed.clear()
            try:
                await self.look()
            except StoreUnavailableError as error:
                self._hub.fail_all(error)
                raise

    async def look(self) -> None:
        """Compare all that is watched with the record, once."""
        task_ids = self._hub.unfinished()
        for some in _portions(task_ids):
            for task_id, sequence in zip(some, await self._record.read_sequences(some), strict=True):
                self._hub.compare(task_id, sequence)
        tenants = {feed.tenant for feed in self._hub.tenant_feeds}
        for tenant in self._last.keys() - tenants:
            del self._last[tenant]
        for tenant in tenants:
            await self._look_at_all_of(tenant)

    async def begin(self, tenant: str) -> Survey:
        """Where a tenant's tasks stand, those that changed lately; surveys that follow tell of what changes after."""
        look = _Look(self._clock.now(), time.monotonic())
        survey = await self._survey(tenant, look, since=look.began)
        self._last.setdefault(tenant, look)
        return survey

    async def _look_at_all_of(self, tenant: str) -> None:
        last = self._last.get(tenant)
        if last is None:
            return  # Its first watch is just about to begin.
        feeds = [feed for feed in self._hub.tenant_feeds if feed.tenant == tenant]
        self._last[tenant] = look = _Look(self._clock.now(), time.monotonic())
        survey = await self._survey(tenant, look, since=last.began)
        # What ended may be gone already, or what changed may seem to have changed before the last look.
        is_complete = look.began - last.began <= LONGEST_PAUSE and look.went_back_since(last) <= self.late / 2
        for feed in feeds:
            if is_complete:
                feed.surveyed(survey)
            else:
                feed.fail(WatchBehindError())

    async def _survey(self, tenant: str, look: _Look, *, since: Millis) -> Survey:
        task_ids = await self._catalogue.changed(tenant, since=since - self.late)
        sequences: dict[str, int] = {}
        for some in _portions(task_ids):
            sequences.update(zip(some, await self._record.read_sequences(some), strict=True))
        return Survey(look.began, sequences)

    async def _until_due(self) -> None:
        while not self._hub.missed.is_set():
            pause = LOOK_SECONDS if self._hub.is_live else LOOK_SECONDS_UNHEARD
            left = self._looked_at + pause - time.monotonic()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(min(left, STEP_SECONDS)):
                    await self._hub.missed.wait()
            except TimeoutError:
                continue


def _portions(task_ids: Sequence[str]) -> list[Sequence[str]]:
    return [task_ids[start : start + AT_ONCE] for start in range(0, len(task_ids), AT_ONCE)]
