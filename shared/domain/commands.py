"""What somebody may want of a task. `decide` says which event follows, or why it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.domain.task import AttemptTerms, Millis, TaskError, TaskProgress, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """A client hands in a task."""

    task_id: str
    tenant: str
    spec: TaskSpec
    retry_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker wants to run the next attempt, on the handler's `terms`, and promises to report within `lease`.

    `attempt` is the one for which the task was put before the workers.
    """

    worker: str
    terms: AttemptTerms
    lease: Millis
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewLease:
    """The worker of `attempt` says that it still lives."""

    attempt: int
    lease: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportProgress:
    """The handler says how far it has come. Like any word of the attempt it renews the lease."""

    attempt: int
    progress: TaskProgress
    lease: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeed:
    """The handler returned `result`."""

    attempt: int
    result: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The handler said that the task cannot succeed. Never retried."""

    attempt: int
    error: TaskError


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The attempt ended without an outcome: another follows `after` this long, or as the policy says."""

    attempt: int
    error: TaskError
    after: Millis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """The attempt met what no repetition mends, such as a type that no handler serves."""

    attempt: int
    error: TaskError


@dataclass(frozen=True, slots=True, kw_only=True)
class HandBack:
    """The worker stops: another one runs the task again, at once, and no retry is used up."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """A client does not want the task any more."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmDispatch:
    """The broker has taken the task's message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostponeDispatch:
    """The broker took no message: look again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """Time has passed: has the task, its attempt or its lease run out?"""


Command = (
    Submit
    | Claim
    | RenewLease
    | ReportProgress
    | Succeed
    | Fail
    | Retry
    | Abort
    | HandBack
    | Cancel
    | ConfirmDispatch
    | PostponeDispatch
    | Wake
)
