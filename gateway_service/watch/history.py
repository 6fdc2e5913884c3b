"""The log of events, as watches read it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.domain.task import EventType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from shared.domain.task import TaskEvent
    from shared.ports import Record

PAGE = 64
"""Events read at once of one task."""

TOGETHER = 16
"""Tasks whose logs are read at once: that bounds what a watch holds of them."""


class History:
    """Reads what a watch did not hear, or not whole."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def replay(self, places: Mapping[str, int], deliver: Callable[[TaskEvent], Awaitable[None]]) -> None:
        """Deliver all that the logs of these tasks have after these numbers: of each task in order.

        What was compacted away is no longer there, and is passed over.
        """
        waiting = list(places.items())
        while waiting:
            some, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
            pages = await asyncio.gather(*(self._page(task_id, after) for task_id, after in some))
            for (task_id, _), page in zip(some, pages, strict=True):
                for event in page:
                    await deliver(event)
                if len(page) == PAGE:
                    waiting.append((task_id, page[-1].sequence))

    async def back_from(self, task_id: str, sequence: int, *, span: int) -> list[TaskEvent]:
        """What is kept of the `span` events up to this number, in order; perhaps some later ones, too."""
        return await self._record.read_events(task_id, after=max(sequence - span, 0), limit=span)

    async def complete(self, event: TaskEvent) -> TaskEvent:
        """The event with its result, if it has one: the log has none, and a broadcast only small ones."""
        if event.type is not EventType.SUCCEEDED or event.result is not None:
            return event
        task = await self._record.read(event.task_id, payload=False)
        return replace(event, result=task.result if task else None)

    async def _page(self, task_id: str, after: int) -> list[TaskEvent]:
        return await self._record.read_events(task_id, after=after, limit=PAGE)
