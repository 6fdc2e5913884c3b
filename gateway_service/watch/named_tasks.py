"""The tasks that one watch names, and how far it has come with each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import SequenceCompactedError, TaskExpiredError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway_service.watch.feed import News, TaskFeed
    from gateway_service.watch.history import History
    from gateway_service.watch.updates import Outlet
    from shared.domain.task import TaskEvent
    from shared.ports import Record


class NamedTasks:
    """Sends each task's events in order, none twice, none skipped, the terminal one last."""

    def __init__(self, feed: TaskFeed, outlet: Outlet, record: Record, history: History) -> None:
        self._places = feed.places
        self._outlet = outlet
        self._record = record
        self._history = history
        self._alone = len(feed.task_ids) == 1

    @property
    def finished(self) -> bool:
        """Whether the end of every task was sent."""
        return not self._places

    @property
    def sequence(self) -> int:
        """The last event sent, if there is one task only; else 0."""
        return next(iter(self._places.values()), 0) if self._alone else 0

    def begin(self, task_id: str, after: int) -> None:
        """The task's next event to send is the one after this."""
        self._places[task_id] = after

    async def take(self, news: News) -> None:
        """Send what was broadcast; where that has a hole, what the log has.

        Raises TaskExpiredError if a task is gone whose end was not sent: it must not look like one that was.
        """
        for event in news.events:
            place = self._places.get(event.task_id)
            if place is None or event.sequence <= place:
                continue
            if event.sequence == place + 1:
                await self._deliver(event)
            else:
                await self.read_logs([event.task_id])
        if news.ahead:
            await self._catch_up([id_ for id_, sequence in news.ahead.items() if self._is_behind(id_, sequence)])

    async def read_logs(self, task_ids: Iterable[str]) -> None:
        """Send everything that the logs have after what was sent. Progress that was thinned out meanwhile is missed."""
        await self._history.replay({id_: self._places[id_] for id_ in task_ids}, self._deliver)

    async def resume(self, task_id: str) -> None:
        """Send everything that the log has after the task's place, without a hole.

        Raises SequenceCompactedError where the log has one, perhaps made while it is read.
        """

        async def deliver(event: TaskEvent) -> None:
            place = self._places[task_id]
            if event.sequence != place + 1:
                await self._refuse_hole(task_id)
            await self._deliver(event)

        await self._refuse_hole(task_id)
        await self._history.replay({task_id: self._places[task_id]}, deliver)

    async def _catch_up(self, task_ids: list[str]) -> None:
        before = {task_id: self._places[task_id] for task_id in task_ids}
        await self.read_logs(task_ids)
        stuck = [task_id for task_id in task_ids if self._places.get(task_id) == before[task_id]]
        for task_id, sequence in zip(stuck, await self._record.read_sequences(stuck), strict=True):
            if not sequence:
                raise TaskExpiredError(task_id)

    async def _refuse_hole(self, task_id: str) -> None:
        """Raises SequenceCompactedError if not every event after the task's place is kept."""
        place, first = self._places[task_id], await self._record.first_kept(task_id)
        if place + 1 < first:
            raise SequenceCompactedError(place, first=first, last=await self._record.read_sequence(task_id))

    def _is_behind(self, task_id: str, sequence: int) -> bool:
        place = self._places.get(task_id)
        return place is not None and place < sequence

    async def _deliver(self, event: TaskEvent) -> None:
        await self._outlet.send(await self._history.complete(event))
        if event.status.is_terminal:
            del self._places[event.task_id]
        else:
            self._places[event.task_id] = event.sequence
