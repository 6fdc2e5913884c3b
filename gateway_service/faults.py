"""What the gateway answers when it cannot do what was asked: one class for each reason, none for the transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.submission import Violation


class Fault(Exception):
    """A request that is answered with an error the client can act on. The message is for the client."""


class InvalidRequestError(Fault):
    """The request itself is wrong, whatever the state of the system."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field} {v.description}" for v in self.violations))


class TaskNotFoundError(Fault):
    """No such task for this tenant: it never was, is another's, or has expired."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"There is no task {task_id}: it was never submitted or is kept no longer.")


class TaskExpiredError(Fault):
    """The task was there, and its retention is over."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"Task {task_id} has finished and is kept no longer: its retention is over.")


class TasksNotFoundError(Fault):
    """Some of several tasks do not exist for this tenant."""

    def __init__(self, task_ids: Sequence[str], *, asked: int) -> None:
        self.task_ids = tuple(task_ids)
        super().__init__(
            f"{len(self.task_ids)} of {asked} tasks do not exist, the first of them {self.task_ids[0]}: "
            "they were never submitted or are kept no longer."
        )


class TaskNotCancellableError(Fault):
    """The task finished before it could be cancelled."""


class TaskNotRetryableError(Fault):
    """The task has not finished, or succeeded."""


class RequestIdReusedError(Fault):
    """The request_id belongs to a submission with another body."""

    def __init__(self, request_id: str, task_id: str) -> None:
        super().__init__(
            f"request_id {request_id!r} was used for a different submission (task {task_id}); take a new one."
        )


class AnswerFullError(Fault):
    """An answer with many parts has no room for this one."""


class WebhooksUnsignedError(Fault):
    """The task has webhooks, and this server has no secret to sign them with."""

    def __init__(self) -> None:
        super().__init__(
            "This server has no secret to sign these webhooks with, so it takes none: whoever runs it sets"
            " TASKCAST_WEBHOOK_SECRET. Submit the task without them, or follow it with WatchTask."
        )


class DeliveryNotFoundError(Fault):
    """No such webhook delivery for this tenant."""

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"There is no webhook delivery {delivery_id}: it never was, or its task is kept no longer.")


class SequenceAheadError(Fault):
    """A watch asked to go on after an event that has not happened."""

    def __init__(self, after: int, last: int) -> None:
        self.after = after
        self.last = last
        super().__init__(f"after_sequence is {after}, but the task's last event is {last}.")


class SequenceCompactedError(Fault):
    """A watch asked to go on after an event whose successors are not all kept any more."""

    def __init__(self, after: int, *, first: int, last: int) -> None:
        self.first = first
        self.last = last
        super().__init__(
            f"after_sequence is {after}, but not every event after it is kept: the log is whole from {first} to {last}."
        )


class WatchBehindError(Fault):
    """A watch by filter fell so far behind that its events can no longer be told completely."""

    def __init__(self) -> None:
        super().__init__("This watch fell too far behind to be completed; list the tasks, and watch anew.")


class TooManyWatchesError(Fault):
    """This process holds as many watches as it may."""


class TooManyCallsError(Fault):
    """This process answers as many calls at once as it may."""


class BacklogFullError(Fault):
    """The broker is away and as many tasks wait for it as may."""


class ShuttingDownError(Fault):
    """This process is about to stop; another one will answer."""

    def __init__(self) -> None:
        super().__init__("This gateway is stopping; ask again.")
