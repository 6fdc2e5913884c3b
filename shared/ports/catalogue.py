"""The port of the catalogue: what can be found in the record without an id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.filters import TaskFilter
    from shared.domain.task import Millis, Task, TaskPriority


CLOCK_SLACK: Millis = 100
"""A gateway's idea of the record's time may be ahead by so much: what was submitted just now waits, and is no delay."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a listing: right behind the task with this time of creation and this id."""

    create_time: Millis
    task_id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the tasks of a listing. `next` is where the following page begins, None behind the last one."""

    tasks: tuple[Task, ...]
    next: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """A queue at one moment: what waits in each line, what runs, what is delayed, and how fast tasks end.

    What may run within CLOCK_SLACK waits; what may not is delayed. `oldest_waiting` is for how long the first of those
    that wait could have run, None where none waits; `ended` how many tasks ended within the last minute.
    """

    name: str
    waiting: Mapping[TaskPriority, int]
    running: int
    delayed: int
    oldest_waiting: Millis | None
    ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What a worker says of itself, at `heartbeat_time`."""

    name: str
    types: tuple[str, ...]
    queues: tuple[str, ...]
    slots: int
    running: int
    version: str
    start_time: Millis
    heartbeat_time: Millis


class Catalogue(Protocol):
    """What can be found without an id: tasks by their properties, queues, and workers.

    Every method may raise StoreUnavailableError within the adapter's deadline; `report` also StoreFullError.
    """

    async def newest(self, tenant: str, wanted: TaskFilter, *, before: Place | None, limit: int) -> Page:
        """Up to `limit` of the tenant's tasks that match, newest first, without payload and result.

        They are those that are older than `before`, if it is given. A task is found from the moment its creation
        is in the record until it expires. A page may be short, or empty, though others follow.
        """
        ...

    async def changed(self, tenant: str, *, since: Millis) -> list[str]:
        """The tenant's tasks that had an event at `since` or later, in no order; of at most the last five minutes."""
        ...

    async def queues(self) -> list[QueueCounts]:
        """Every queue with a task that has not finished, or finished in the last minute, by name."""
        ...

    async def report(self, worker: WorkerReport, *, ttl: Millis) -> None:
        """Keep what a worker says of itself for `ttl`, in place of what it said before."""
        ...

    async def withdraw(self, name: str) -> None:
        """Forget the worker at once."""
        ...

    async def workers(self) -> list[WorkerReport]:
        """What every worker said last, by name, of those whose time is not over."""
        ...
