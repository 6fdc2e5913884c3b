"""What a task is: the values that the rules read and return.

Times are milliseconds since the Unix epoch on the record's clock, durations are milliseconds. Payload and
result are opaque bytes here: the rules never look inside them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Millis = int


class TaskStatus(enum.IntEnum):
    """Where a task is in its life. The numbers are those of the public contract."""

    WAITING = 1
    PROCESSING = 2
    SUCCESS = 3
    FAILED = 4
    ERROR = 5
    CANCELLED = 6
    TIMEOUT = 7

    @property
    def is_terminal(self) -> bool:
        """A terminal task never changes again."""
        return self >= TaskStatus.SUCCESS


class EventType(enum.IntEnum):
    """What happened to a task. The numbers are those of the public contract."""

    SUBMITTED = 1
    STARTED = 2
    PROGRESSED = 3
    RETRY_SCHEDULED = 4
    SUCCEEDED = 5
    FAILED = 6
    ERRORED = 7
    CANCELLED = 8
    TIMED_OUT = 9


class TaskPriority(enum.IntEnum):
    """Which of a queue's three lines a task stands in. The numbers are those of the public contract."""

    LOW = 1
    NORMAL = 2
    HIGH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskError:
    """Why an attempt, or the task, did not succeed: a stable `code` for programs, a `message` for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """How far an attempt has come. `percent` is 0 to 100; `detail` is an encoded JSON object or empty."""

    percent: float = 0.0
    message: str = ""
    completed: int = 0
    total: int = 0
    detail: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how late an attempt is repeated. None means: whatever the next source of defaults says."""

    max_attempts: int | None = None
    initial_backoff: Millis | None = None
    max_backoff: Millis | None = None
    backoff_multiplier: float | None = None
    jitter: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptTerms:
    """What holds for an attempt once every default is settled. `attempt_timeout` 0 means no limit.

    `jitter` is the share by which a back-off may be shortened, so that tasks which failed together do not return
    together.
    """

    max_attempts: int = 3
    initial_backoff: Millis = 1_000
    max_backoff: Millis = 300_000
    backoff_multiplier: float = 2.0
    jitter: float = 0.2
    attempt_timeout: Millis = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint that wants to hear of the task's status changes; no `statuses` means all of them."""

    url: str
    statuses: tuple[TaskStatus, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What the client asked for. It never changes; `payload` is None where it was not read."""

    type: str
    payload: bytes | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    queue: str = "default"
    priority: TaskPriority = TaskPriority.NORMAL
    schedule_time: Millis | None = None
    timeout: Millis | None = None
    attempt_timeout: Millis | None = None
    estimated_duration: Millis | None = None
    retry_policy: RetryPolicy = RetryPolicy()
    webhooks: tuple[Webhook, ...] = ()
    retention: Millis = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of the handler. `outcome` is None while it runs; WAITING means that another attempt followed."""

    number: int
    worker: str
    start_time: Millis
    end_time: Millis | None = None
    outcome: TaskStatus | None = None
    error: TaskError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """When somebody must look at the task for a reason that is no event of its life.

    `dispatch_at` is when a waiting task is (again) put before the workers, `dispatches` how often a dispatch was
    confirmed since it last began to wait, `lease_expires` until when the running attempt has promised to report.
    """

    dispatch_at: Millis = 0
    dispatches: int = 0
    lease_expires: Millis = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One submitted unit of work: its spec, and the fold of all its events.

    `timers` is bookkeeping that changes without an event, so it takes no part in equality.
    """

    id: str
    tenant: str
    spec: TaskSpec
    retry_of: str = ""
    status: TaskStatus = TaskStatus.WAITING
    sequence: int = 0
    attempt: int = 0
    attempts: tuple[Attempt, ...] = ()
    terms: AttemptTerms | None = None
    progress: TaskProgress | None = None
    result: bytes | None = None
    error: TaskError | None = None
    cancel_reason: str = ""
    create_time: Millis = 0
    update_time: Millis = 0
    start_time: Millis | None = None
    end_time: Millis | None = None
    next_attempt_time: Millis | None = None
    expire_time: Millis | None = None
    timers: Timers = field(default=Timers(), compare=False)

    @property
    def deadline(self) -> Millis | None:
        """When the whole task times out: `timeout` after submission, or after the schedule time if that is later."""
        if not self.spec.timeout:
            return None
        return max(self.create_time, self.spec.schedule_time or 0) + self.spec.timeout

    @property
    def attempt_deadline(self) -> Millis | None:
        """When the running attempt times out, or None if it may run without limit."""
        if self.status is not TaskStatus.PROCESSING or not self.terms or not self.terms.attempt_timeout:
            return None
        return self.attempts[-1].start_time + self.terms.attempt_timeout

    @property
    def not_before(self) -> Millis:
        """The earliest time at which a waiting task may start."""
        return self.next_attempt_time or self.spec.schedule_time or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """One recorded change of one task. Which fields are set follows from `type`, as in the public contract.

    `tenant`, `spec` and `retry_of` come with SUBMITTED, `terms` with STARTED, and `lease` with STARTED and
    PROGRESSED. They are not part of the public event: the record holds them beside the log.
    """

    task_id: str
    sequence: int
    type: EventType
    status: TaskStatus
    attempt: int
    time: Millis
    progress: TaskProgress | None = None
    result: bytes | None = None
    error: TaskError | None = None
    next_attempt_time: Millis | None = None
    worker: str = ""
    cancel_reason: str = ""
    tenant: str = ""
    spec: TaskSpec | None = None
    retry_of: str = ""
    terms: AttemptTerms | None = None
    lease: Millis = 0
