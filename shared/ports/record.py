"""The port of the record: the truth about every task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.domain.task import Millis, Task, TaskEvent, Timers


class StoreUnavailableError(Exception):
    """The record could not be reached in time. Whether the last append took effect is unknown."""


class StoreFullError(Exception):
    """The record refuses writes because its memory limit is reached."""


StoreError = StoreUnavailableError | StoreFullError


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One append: `task` is the state after `events`, which follow event `expected_sequence`.

    Without events only the task's timers change. `fingerprint` identifies the body of a submission and is
    stored when the task is created. `want_payload` asks for the payload in the answer. `deliveries` are the webhooks
    that the events call for: sequence and endpoint of each (`shared.domain.webhooks`).
    """

    task: Task
    events: tuple[TaskEvent, ...]
    expected_sequence: int
    fingerprint: bytes = b""
    want_payload: bool = False
    deliveries: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Appended:
    """The change is in the record. `payload` is set if it was asked for."""

    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Nothing was written: the task is not at the expected sequence. `task` is None if it does not exist.

    The task comes without payload and result.
    """

    task: Task | None
    fingerprint: bytes = b""


class Record(Protocol):
    """The truth about every task.

    Every method may raise StoreUnavailableError within the adapter's deadline; `append` also StoreFullError.
    """

    async def append(self, change: Change) -> Appended | Conflict:
        """Write state, events and wake at once, if the task is at the expected sequence. Safe to repeat."""
        ...

    async def append_all(self, changes: Sequence[Change]) -> list[Appended | Conflict | StoreError]:
        """Each of the changes by itself, in order, in one exchange: what `append` would answer or raise for it."""
        ...

    async def retime(self, tasks: Sequence[tuple[Task, Timers]]) -> None:
        """Give each task these timers, and the wake that follows from them, if nothing has happened to it since.

        A task that is not at the sequence that it has here is left as it is: its timers are out of date.
        """
        ...

    async def read(self, task_id: str, *, payload: bool = True, result: bool = True) -> Task | None:
        """The task as it is now, or None."""
        ...

    async def read_many(
        self, task_ids: Sequence[str], *, payload: bool = False, result: bool = False
    ) -> list[Task | None]:
        """Each of the tasks as it is now, or None, in the order asked for."""
        ...

    async def read_sequence(self, task_id: str) -> int:
        """The number of the task's last event, 0 if there is no such task."""
        ...

    async def read_sequences(self, task_ids: Sequence[str]) -> list[int]:
        """What `read_sequence` tells, of each of the tasks, in the order asked for."""
        ...

    async def read_events(self, task_id: str, *, after: int, limit: int) -> list[TaskEvent]:
        """Up to `limit` events with a sequence above `after`, in order, without results.

        Long logs are thinned: progress before `first_kept` may be missing, other events are all there.
        """
        ...

    async def first_kept(self, task_id: str) -> int:
        """From which event to the last the log has no hole: 1, unless it was so long that it was thinned."""
        ...

    async def due(self, partitions: Iterable[str], *, until: Millis, limit: int) -> list[tuple[str, Millis]]:
        """Tasks whose wake is at or before `until`: of each partition up to `limit`, its earliest first."""
        ...

    async def unfinished(self, partition: str) -> list[str]:
        """All of the partition's tasks that are not terminal; what waits comes first, in the order it may run in."""
        ...

    async def forget(self, partitions: Iterable[str], *, until: Millis, limit: int) -> int:
        """Remove tasks that are kept no longer than `until`, with every trace: of each partition up to `limit`.

        Gives how many were removed.
        """
        ...

    async def has_expired(self, tenant: str, task_id: str) -> bool:
        """Whether the tenant's task was removed lately because it was kept long enough. False may mean: long ago."""
        ...

    async def have_expired(self, tenant: str, task_ids: Sequence[str]) -> list[bool]:
        """What `has_expired` tells, of each of the tasks, in the order asked for."""
        ...

    async def enrol(self, group: str, member: str, *, ttl: Millis) -> list[str]:
        """Say that `member` of `group` lives for another `ttl`, and give all living members, sorted."""
        ...

    async def leave(self, group: str, member: str) -> None:
        """Take `member` out of `group` at once."""
        ...

    async def server_time(self) -> Millis:
        """The record's time, milliseconds since the Unix epoch."""
        ...

    async def close(self) -> None:
        """Answer every caller, then let go of the connections."""
        ...
