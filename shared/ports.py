"""What the services need from the world: the record, the broker and a clock, each as a port.

Adapters of one port pass one contract suite (`tests/contract/`), so whatever is promised here is tested there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from shared.domain.filters import TaskFilter
    from shared.domain.task import Millis, Task, TaskEvent, TaskPriority, Timers


class StoreUnavailableError(Exception):
    """The record could not be reached in time. Whether the last append took effect is unknown."""


class StoreFullError(Exception):
    """The record refuses writes because its memory limit is reached."""


StoreError = StoreUnavailableError | StoreFullError


class BrokerUnavailableError(Exception):
    """The broker could not be reached, or did not confirm in time. Whether it took the message is unknown."""


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """What puts a task before the workers of its queue, in the line of its priority."""

    queue: str
    priority: TaskPriority
    body: bytes


class Clock(Protocol):
    """The record's time. Every lease, wake and event time is read from it, never from the host."""

    def now(self) -> Millis:
        """Milliseconds since the Unix epoch."""
        ...


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

    `oldest_waiting` is for how long the first of those that wait could have run, None where none waits;
    `ended` how many tasks ended within the last minute.
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


class Delivery(Protocol):
    """A task message in a worker's hands, to be settled once: `ack` or `give_back`.

    Settling a delivery whose connection is gone does nothing: the broker has taken the message back.
    """

    @property
    def body(self) -> bytes:
        """The message, as it was dispatched."""
        ...

    @property
    def priority(self) -> TaskPriority:
        """The line it came from."""
        ...

    async def ack(self) -> None:
        """The message is done with."""
        ...

    async def give_back(self) -> None:
        """Another worker may have it."""
        ...


class Consumer(Protocol):
    """A worker's hold on its queues."""

    @property
    def is_consuming(self) -> bool:
        """Whether the broker has it registered on all of its queues right now."""
        ...

    def resume(self, prefetch: int) -> None:
        """Take deliveries, at most `prefetch` unsettled ones from each line, starting as soon as possible."""
        ...

    def pause(self) -> None:
        """Take no more deliveries. A few may still arrive; those in hand stay valid until they are settled."""
        ...

    async def pull(self, priority: TaskPriority) -> Delivery | None:
        """Ask for one delivery from this line of any of the queues; None if there is none, or the broker is away.

        It is the caller's and does not go to `on_delivery`. Not to be cancelled.
        """
        ...

    async def close(self) -> None:
        """Stop for good; unsettled deliveries go back to the broker."""
        ...


class Subscription(Protocol):
    """A live feed of broadcast events by topic pattern."""

    @property
    def is_live(self) -> bool:
        """Whether events arrive right now; false while the broker is away."""
        ...

    async def bind(self, pattern: str) -> bool:
        """Ask for the events that match `pattern`; true once they arrive, false if the broker is away.

        A pattern asked for in vain is bound as soon as the broker is back. Words of a pattern are separated
        by dots; `*` stands for one word and `#` for any number of them.
        """
        ...

    def unbind(self, pattern: str) -> None:
        """The events of `pattern` are no longer needed. They may go on arriving for a while."""
        ...

    async def close(self) -> None:
        """End the feed."""
        ...


class News(Protocol):
    """A share of the news of webhooks."""

    async def close(self) -> None:
        """Listen no longer; the others have it all."""
        ...


class Broker(Protocol):
    """Carries work to workers and events to whoever listens. Losing all of its data loses no task."""

    @property
    def is_connected(self) -> bool:
        """Whether a dispatch could be confirmed right now."""
        ...

    async def dispatch(self, queue: str, priority: TaskPriority, body: bytes) -> None:
        """Put a task message before the workers of `queue`; returns once the broker has taken it.

        The queue is created if need be. Raises BrokerUnavailableError.
        """
        ...

    async def dispatch_all(self, messages: Sequence[TaskMessage]) -> list[BrokerUnavailableError | None]:
        """Dispatch each by itself: None for what the broker has taken, else what `dispatch` would raise."""
        ...

    def broadcast(self, routing_key: str, body: bytes) -> None:
        """Send an event to all who listen. Never waits, never fails: it is dropped while the broker is away."""
        ...

    async def consume(self, queues: Sequence[str], on_delivery: Callable[[Delivery], None]) -> Consumer:
        """Take task messages of `queues`; the consumer starts paused and survives a restart of the broker."""
        ...

    async def subscribe(self, on_event: Callable[[str, bytes], None], on_gap: Callable[[], None]) -> Subscription:
        """Listen to events: `on_event(routing_key, body)`. `on_gap` says that events may have been missed."""
        ...

    def announce(self, body: bytes) -> None:
        """Tell one of those who attend that there are webhooks to send. Never waits, never fails.

        It may be lost, or wait for a minute until somebody attends: what it tells of stands in the record.
        """
        ...

    async def attend(self, on_news: Callable[[bytes], None]) -> News:
        """Be told of webhooks to send; each piece of news goes to one of those who attend."""
        ...

    async def guard_memory(self, on_loss: Callable[[], Awaitable[None]]) -> None:
        """Call `on_loss` whenever the broker is found new or wiped, until it has once returned normally."""
        ...

    async def close(self) -> None:
        """Send what is on its way, then disconnect."""
        ...
