"""What one watch still has to look at: bounded, so that a slow watch costs memory only up to a limit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_service.faults import WatchBehindError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.domain.task import Millis, TaskEvent

ROOM = 64
"""Events that a watch of one task may have waiting."""

MOST_ROOM = 1_024
"""The same for a watch of many."""

MOST_SURVEYS = 12
"""Surveys that a watch by filter may have waiting. They come every few seconds, so it may be about a minute behind."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the record says of a tenant's tasks: those that changed lately, each with the number of its last event.

    It holds everything that was recorded before `began` and after the survey before it. 0 stands for a task that
    is kept no longer.
    """

    began: Millis
    sequences: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class News:
    """What came for a watch since it last looked: to be looked at in this order."""

    events: tuple[TaskEvent, ...] = ()
    """As they were broadcast: perhaps repeated, out of order, with holes."""
    ahead: Mapping[str, int] | None = None
    """Tasks with an event of at least this number in the record."""
    surveys: tuple[Survey, ...] = ()


class Feed:
    """News for one watch."""

    def __init__(self, *, room: int) -> None:
        """`room`: how many events may wait in it."""
        self._room = room
        self._events: list[TaskEvent] = []
        self._failure: Exception | None = None
        self._changed = asyncio.Event()

    @property
    def has_news(self) -> bool:
        """Whether the watch has something to look at."""
        return self._changed.is_set()

    @property
    def has_failed(self) -> bool:
        """Whether the watch must end."""
        return self._failure is not None

    def push(self, event: TaskEvent) -> None:
        """An event was broadcast. Without room for it the record has to tell of it."""
        if len(self._events) < self._room:
            self._events.append(event)
            self._changed.set()
        else:
            self._drop(event)

    def fail(self, error: Exception) -> None:
        """The watch cannot go on: `wait` raises `error`, now and ever after."""
        self._failure = self._failure or error
        self._events.clear()
        self._changed.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for news; false if none came in time. Raises what the feed failed with."""
        if not self._changed.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                return False
        if self._failure is not None:
            raise self._failure
        return True

    def take(self) -> News:
        """The news since the last call."""
        self._changed.clear()
        events, self._events = self._events, []
        return self._news(tuple(events))

    def _drop(self, event: TaskEvent) -> None:
        """There was no room for the event."""

    def _news(self, events: tuple[TaskEvent, ...]) -> News:
        return News(events)


class TaskFeed(Feed):
    """News of tasks that are watched by their ids."""

    def __init__(self, task_ids: Iterable[str]) -> None:
        self.task_ids = tuple(task_ids)
        self.places: dict[str, int] = {}
        """How far the watch has come with each task that has not ended; the watch itself keeps it up to date."""
        self._ahead: dict[str, int] = {}
        super().__init__(room=min(ROOM * len(self.task_ids), MOST_ROOM))

    def overtaken(self, task_id: str, sequence: int) -> None:
        """The record has an event of the task with this number, whether or not it was broadcast."""
        self._ahead[task_id] = max(sequence, self._ahead.get(task_id, 0))
        self._changed.set()

    def _drop(self, event: TaskEvent) -> None:
        self.overtaken(event.task_id, event.sequence)

    def _news(self, events: tuple[TaskEvent, ...]) -> News:
        ahead, self._ahead = self._ahead, {}
        return News(events, ahead=ahead)


class TenantFeed(Feed):
    """News of all tasks, for a watch that picks out those of a tenant that match a filter.

    An event that finds no room is dropped without a trace: the next survey has it.
    """

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self._surveys: list[Survey] = []
        super().__init__(room=MOST_ROOM)

    def surveyed(self, survey: Survey) -> None:
        """The record was asked what has changed."""
        if len(self._surveys) >= MOST_SURVEYS:
            self._surveys.clear()
            self.fail(WatchBehindError())
        else:
            self._surveys.append(survey)
            self._changed.set()

    def _news(self, events: tuple[TaskEvent, ...]) -> News:
        surveys, self._surveys = self._surveys, []
        return News(events, surveys=tuple(surveys))
