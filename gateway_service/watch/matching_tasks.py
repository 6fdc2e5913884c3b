"""The tasks that a watch by filter has met, and how far it has come with each.

What makes it complete is time. Everything recorded before `floor` is settled: it was sent, or was there when the
watch began, or was not asked for. So a task without a bookmark is settled up to its last event before `floor`, and
a bookmark may be dropped once its event lies before it. Each survey of the record names the tasks that have changed
since, and moves `floor` on. The broadcast only makes the watch quick.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway_service.faults import WatchBehindError
from gateway_service.watch.history import TOGETHER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_service.watch.feed import News, Survey
    from gateway_service.watch.history import History
    from gateway_service.watch.known_tasks import KnownTasks
    from gateway_service.watch.updates import Outlet
    from shared.domain.filters import TaskFilter
    from shared.domain.task import Millis, TaskEvent, TaskStatus

MOST_MET = 100_000
"""Tasks that one watch may have met within the time that is not settled yet."""

LOOK_BACK = 4
"""Events read to find a task's place, most often enough; fewer than happen within seconds only to a busy task."""


@dataclass(slots=True)
class Bookmark:
    """The last settled event of a task. 0 and None where there was none."""

    sequence: int = 0
    time: Millis = 0
    status: TaskStatus | None = None


class MatchingTasks:
    """Sends the events of a tenant's tasks that match, of each task in order, none twice, none skipped.

    An event is sent if the task matches before or after it.
    """

    finished = False
    sequence = 0

    def __init__(
        self,
        tenant: str,
        wanted: TaskFilter,
        begun: Survey,
        outlet: Outlet,
        *,
        history: History,
        known: KnownTasks,
        late: Millis,
    ) -> None:
        """`begun` is where tasks stood when the watch began; `late` as `Patrol` has it."""
        self._tenant = tenant
        self._fixed = replace(wanted, statuses=frozenset())
        self._statuses = wanted.statuses
        self._begun: Mapping[str, int] = begun.sequences
        self._began = begun.began
        self._outlet = outlet
        self._history = history
        self._known = known
        self._late = late
        self._floor = begun.began - late
        self._bookmarks: dict[str, Bookmark] = {}
        self._unwanted: set[str] = set()
        self._unwanted_lately: set[str] = set()

    async def take(self, news: News) -> None:
        """Send what was broadcast, then what surveys found beyond it.

        Raises WatchBehindError if a task is gone that may have matched, or too many have changed.
        """
        # An event from before the floor is settled, or its task has a bookmark. A task that is not there was broadcast
        # by somebody else, or has expired: then a survey has seen it.
        await self._meet({e.task_id: e.sequence for e in news.events if e.time >= self._floor})
        for event in news.events:
            bookmark = self._bookmarks.get(event.task_id)
            if bookmark is None or event.sequence <= bookmark.sequence:
                continue
            if event.sequence == bookmark.sequence + 1:
                await self._deliver(event)
            else:
                await self._history.replay({event.task_id: bookmark.sequence}, self._deliver)
        for survey in news.surveys:
            await self._take_survey(survey)

    async def _take_survey(self, survey: Survey) -> None:
        gone = [task_id for task_id, sequence in survey.sequences.items() if not sequence]
        # What stands where it stood when the watch began needs no place yet.
        there = {id_: number for id_, number in survey.sequences.items() if number and number != self._begun.get(id_)}
        unmet = await self._meet(there)
        behind = {id_: mark.sequence for id_, sequence in there.items() if (mark := self._behind(id_, sequence))}
        await self._history.replay(behind, self._deliver)
        # What was not there any more when this watch came to read it.
        lost = [task_id for task_id in behind if self._behind(task_id, there[task_id])]
        if unmet or lost or any(self._may_have_missed_the_end_of(task_id) for task_id in gone):
            raise WatchBehindError
        self._settle(survey.began - self._late)

    def _behind(self, task_id: str, sequence: int) -> Bookmark | None:
        bookmark = self._bookmarks.get(task_id)
        return bookmark if bookmark is not None and bookmark.sequence < sequence else None

    def _may_have_missed_the_end_of(self, task_id: str) -> bool:
        if task_id in self._unwanted or task_id in self._unwanted_lately:
            return False
        bookmark = self._bookmarks.get(task_id)
        if bookmark is None:
            return task_id not in self._begun
        return bookmark.status is None or not bookmark.status.is_terminal

    async def _meet(self, sequences: Mapping[str, int]) -> list[str]:
        """Find a place for those of the tasks that are new, and give those that are not there.

        `sequences` are numbers of events that they have.
        """
        new = [id_ for id_ in sequences if id_ not in self._bookmarks and id_ not in self._unwanted]
        tasks = await self._known.look_up(new) if new else {}
        wanted = []
        for task in tasks.values():
            if task.tenant == self._tenant and self._fixed.matches(task):
                wanted.append(task.id)
            else:
                self._unwanted.add(task.id)
        for start in range(0, len(wanted), TOGETHER):
            some = wanted[start : start + TOGETHER]
            bookmarks = await asyncio.gather(*(self._look_back(task_id, sequences[task_id]) for task_id in some))
            self._bookmarks.update(zip(some, bookmarks, strict=True))
        if len(self._bookmarks) + len(self._unwanted) > MOST_MET:
            raise WatchBehindError
        return [task_id for task_id in new if task_id not in tasks]

    async def _look_back(self, task_id: str, sequence: int) -> Bookmark:
        """The last event of the task that was there when the watch began, or has been settled since."""
        begun = self._begun.get(task_id, 0)
        sequence = max(sequence, begun)
        span = LOOK_BACK
        while sequence > 1 or begun:
            events = await self._history.back_from(task_id, sequence, span=span)
            settled = [e for e in events if (e.sequence <= begun if begun else e.time < self._floor)]
            if settled:
                return Bookmark(settled[-1].sequence, settled[-1].time, settled[-1].status)
            if sequence <= span:
                break
            span *= 4
        return Bookmark()

    async def _deliver(self, event: TaskEvent) -> None:
        bookmark = self._bookmarks[event.task_id]
        if not self._statuses or event.status in self._statuses or bookmark.status in self._statuses:
            await self._outlet.send(await self._history.complete(event))
        bookmark.sequence, bookmark.time, bookmark.status = event.sequence, event.time, event.status

    def _settle(self, floor: Millis) -> None:
        self._floor = max(floor, self._floor)
        self._unwanted_lately, self._unwanted = self._unwanted, set()
        if self._floor >= self._began:
            self._begun = {}
            self._bookmarks = {id_: mark for id_, mark in self._bookmarks.items() if mark.time >= self._floor}
