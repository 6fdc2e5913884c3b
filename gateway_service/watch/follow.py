"""Follow one task: subscribe, read the record, then tail.

What a watch promises: a task's events in order of their sequence, none twice, none skipped, the terminal one
last. The broadcast only makes it quick: wherever it has a hole, the log has the events.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway_service.faults import SequenceAheadError, TaskNotFoundError
from gateway_service.use_cases.get_task import check_task_id, owned
from shared.domain.task import EventType, Task, TaskEvent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway_service.watch.hub import EventHub, Feed
    from shared.ports import Record

CHECK_SECONDS = 5.0
"""A quiet watch compares its place with the record this often: a broadcast may be lost without a trace."""

CHECK_SECONDS_UNHEARD = 0.5
"""The same while no broadcasts arrive at all."""

LOG_PAGE = 256


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing has happened since event `sequence`, and the watch is alive."""

    sequence: int


Update = Task | TaskEvent | Heartbeat


class FollowTask:
    """One watch after another of the tasks of this process's clients."""

    def __init__(self, record: Record, hub: EventHub) -> None:
        self._record = record
        self._hub = hub

    async def __call__(
        self,
        tenant: str,
        task_id: str,
        *,
        after: int | None,
        heartbeat: float,
        send: Callable[[Update], Awaitable[None]],
    ) -> None:
        """Send the task's updates until its terminal event is sent.

        Without `after`: a snapshot, then each later event. With it: every event after that number. A heartbeat
        is sent when nothing else was for `heartbeat` seconds. Raises InvalidRequestError, TaskNotFoundError,
        SequenceAheadError, TooManyWatchesError, ShuttingDownError or StoreUnavailableError.
        """
        check_task_id(task_id)
        feed = await self._hub.listen(task_id)
        try:
            task = owned(await self._record.read(task_id, payload=after is None), tenant, task_id)
            if after is None:
                await send(task)
                if task.status.is_terminal:
                    return
            elif after > task.sequence:
                raise SequenceAheadError(after, task.sequence)
            watch = _Watch(self._record, feed, send, sequence=task.sequence if after is None else after)
            if after is not None and (await watch.read_log() or (after == task.sequence and task.status.is_terminal)):
                return
            if task.status.is_terminal:
                # It expired between the two reads: an end that was not sent must not look like one that was.
                raise TaskNotFoundError(task_id)
            if after == task.sequence:
                # Whoever resumes where the task stands learns that the watch stands, too.
                await watch.beat()
            await self._tail(watch, heartbeat)
        finally:
            self._hub.drop(feed)

    async def _tail(self, watch: _Watch, heartbeat: float) -> None:
        checked = time.monotonic()
        while not watch.finished:
            now = time.monotonic()
            check_at = checked + (CHECK_SECONDS if self._hub.is_live else CHECK_SECONDS_UNHEARD)
            heartbeat_at = watch.sent_at + heartbeat
            if await watch.feed.wait(max(min(check_at, heartbeat_at) - now, 0.0)):
                await watch.take_news()
                continue
            now = time.monotonic()
            if now >= check_at:
                checked = now
                if await watch.compare():
                    return
            if now >= watch.sent_at + heartbeat:
                await watch.beat()


class _Watch:
    """How far one watch has come."""

    def __init__(self, record: Record, feed: Feed, send: Callable[[Update], Awaitable[None]], *, sequence: int) -> None:
        self.feed = feed
        self.finished = False
        self.sent_at = time.monotonic()
        self._record = record
        self._send = send
        self._sequence = sequence

    async def take_news(self) -> None:
        """Send what was broadcast; where that has a hole, what the log has."""
        events = self.feed.take()
        if events is None:
            await self.read_log()
            return
        for event in events:
            if event.sequence <= self._sequence:
                continue
            if event.sequence > self._sequence + 1:
                await self.read_log()
            else:
                await self._deliver(event)
            if self.finished:
                return

    async def read_log(self) -> bool:
        """Send everything that the log has after the last event sent; true once the watch has finished."""
        while not self.finished:
            page = await self._record.read_events(self.feed.task_id, after=self._sequence, limit=LOG_PAGE)
            for event in page:
                await self._deliver(event)
            if len(page) < LOG_PAGE:
                break
        return self.finished

    async def compare(self) -> bool:
        """Catch up if the record is ahead; true once the watch has finished.

        Raises TaskNotFoundError if the task has expired: its end was missed and cannot be read any more.
        """
        recorded = await self._record.read_sequence(self.feed.task_id)
        if not recorded:
            raise TaskNotFoundError(self.feed.task_id)
        return recorded > self._sequence and await self.read_log()

    async def beat(self) -> None:
        """Show that the watch is alive."""
        await self._send(Heartbeat(self._sequence))
        self.sent_at = time.monotonic()

    async def _deliver(self, event: TaskEvent) -> None:
        if event.type is EventType.SUCCEEDED and event.result is None:
            # The log has no results, and a broadcast only small ones: the record has them all.
            task = await self._record.read(event.task_id, payload=False)
            event = replace(event, result=task.result if task else None)
        await self._send(event)
        self._sequence = event.sequence
        self.sent_at = time.monotonic()
        self.finished = event.status.is_terminal
