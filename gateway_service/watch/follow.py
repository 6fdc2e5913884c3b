"""Follow one task: subscribe, read the record, then tail.

What a watch promises: a task's events in order of their sequence, none twice, none skipped, the terminal one
last. The broadcast only makes it quick: wherever it has a hole, the log has the events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import SequenceAheadError, TaskExpiredError
from gateway_service.use_cases.get_task import check_task_id, find
from gateway_service.watch.history import History
from gateway_service.watch.named_tasks import NamedTasks
from gateway_service.watch.tail import tail
from gateway_service.watch.updates import Heartbeat, Outlet

if TYPE_CHECKING:
    from gateway_service.watch.hub import EventHub
    from gateway_service.watch.updates import Send
    from shared.ports import Record


class FollowTask:
    """One watch after another of single tasks."""

    def __init__(self, record: Record, hub: EventHub) -> None:
        self._record = record
        self._hub = hub

    async def __call__(self, tenant: str, task_id: str, *, after: int | None, heartbeat: float, send: Send) -> None:
        """Send the task's updates until its terminal event is sent.

        Without `after`: a snapshot, then each later event. With it: every event after that number; if there is none
        yet, a heartbeat says that the watch stands. Later a heartbeat is sent when nothing else was for `heartbeat`
        seconds. Raises InvalidRequestError, TaskNotFoundError, TaskExpiredError, SequenceAheadError,
        SequenceCompactedError, TooManyWatchesError, ShuttingDownError or StoreUnavailableError.
        """
        check_task_id(task_id)
        feed = await self._hub.listen([task_id])
        try:
            outlet = Outlet(send, heartbeat=heartbeat)
            tasks = NamedTasks(feed, outlet, self._record, History(self._record))
            task = await find(self._record, tenant, task_id, payload=after is None)
            if after is None:
                await outlet.send(task)
            elif after > task.sequence:
                raise SequenceAheadError(after, task.sequence)
            elif after == task.sequence and not task.status.is_terminal:
                await outlet.send(Heartbeat(after))
            place = task.sequence if after is None else after
            if place == task.sequence and task.status.is_terminal:
                return
            tasks.begin(task_id, place)
            if place < task.sequence:
                await tasks.resume(task_id)
            if task.status.is_terminal and not tasks.finished:
                # It expired between the two reads: an end that was not sent must not look like one that was.
                raise TaskExpiredError(task_id)
            await tail(feed, outlet, tasks)
        finally:
            self._hub.drop(feed)
