"""What is known of a task that is being watched: the fold of the updates so far."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from taskcast.cli import words
from taskcast.client import TERMINAL_STATUSES
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Value
    from google.protobuf.timestamp_pb2 import Timestamp

    from taskcast.v1.task_service_pb2 import WatchTaskResponse, WatchTasksResponse


class TaskView:
    """A task as its watcher sees it."""

    def __init__(self, task_id: str) -> None:
        self.id = task_id
        self.type = ""
        self.status: task_pb2.TaskStatus.ValueType = task_pb2.TASK_STATUS_UNSPECIFIED
        self.attempt = 0
        self.progress: task_pb2.TaskProgress | None = None
        self.result: Value | None = None
        self.error: task_pb2.TaskError | None = None
        self.cancel_reason = ""
        self.next_start: Timestamp | None = None
        self._created: datetime | None = None
        self._ended: datetime | None = None
        self._clock_at_creation: float | None = None

    def take_task(self, task: task_pb2.Task) -> None:
        """The whole task as it stands."""
        self.type = task.type
        self.status = task.status
        self.attempt = task.attempt
        self.progress = task.progress if task.HasField("progress") else None
        self.result = task.result if task.HasField("result") else None
        self.error = task.error if task.HasField("error") else None
        self.cancel_reason = task.cancel_reason
        self.next_start = None
        if task.status == task_pb2.TASK_STATUS_WAITING:
            if task.HasField("next_attempt_time"):
                self.next_start = task.next_attempt_time
            elif task.HasField("schedule_time"):
                self.next_start = task.schedule_time
        self._was_created(task.create_time)
        if task.HasField("end_time"):
            self._ended = _aware(task.end_time)

    def take(self, update: WatchTaskResponse | WatchTasksResponse) -> None:
        """A snapshot or an event; a heartbeat changes nothing."""
        match update.WhichOneof("update"):
            case "snapshot":
                self.take_task(update.snapshot)
            case "event":
                self._take_event(update.event)
            case _:
                pass

    @property
    def finished(self) -> bool:
        """Whether the task will change no more."""
        return self.status in TERMINAL_STATUSES

    @property
    def succeeded(self) -> bool:
        """Whether it ended in SUCCESS."""
        return self.status == task_pb2.TASK_STATUS_SUCCESS

    @property
    def percent(self) -> float | None:
        """How much is done, 0 to 100; None while that cannot be told."""
        if self.succeeded:
            return 100.0
        if self.progress is None:
            return None
        if self.progress.percent:
            return self.progress.percent
        if self.progress.total:
            return min(100.0 * self.progress.completed / self.progress.total, 100.0)
        return None

    @property
    def counts(self) -> str:
        """Units done, of how many if that is known; empty if the handler does not count."""
        if self.progress is None or not (self.progress.completed or self.progress.total):
            return ""
        done = words.count(self.progress.completed)
        return f"{done}/{words.count(self.progress.total)}" if self.progress.total else done

    @property
    def activity(self) -> str:
        """What is going on, in a few words."""
        if self.status == task_pb2.TASK_STATUS_WAITING:
            return self._waiting_for()
        if self.status == task_pb2.TASK_STATUS_PROCESSING:
            return words.one_line(self.progress.message) if self.progress is not None else ""
        return ""

    @property
    def outcome(self) -> str:
        """Status, time and result or error, in one line. For a task that has finished."""
        length = words.seconds(self._ended - self._created) if self._ended and self._created else ""
        head = words.status_word(self.status) + (f" in {length}" if length else "")
        if self.attempt > 1:
            head += f", attempt {self.attempt}"
        if self.succeeded:
            return head if self.result is None else f"{head}: {words.value_line(self.result, self.id)}"
        if self.error is not None:
            return f"{head}: {words.error_line(self.error)}"
        return f"{head}: {words.one_line(self.cancel_reason)}" if self.cancel_reason else head

    @property
    def elapsed(self) -> timedelta:
        """How long the task has been there, as far as this machine's clock can tell."""
        if self._ended and self._created:
            return self._ended - self._created
        if self._clock_at_creation is None:
            return timedelta(0)
        return timedelta(seconds=max(time.monotonic() - self._clock_at_creation, 0.0))

    def _take_event(self, event: task_pb2.TaskEvent) -> None:
        kind = event.type
        self.status = event.status
        self.attempt = event.attempt or self.attempt
        self.next_start = event.next_attempt_time if event.HasField("next_attempt_time") else None
        if event.HasField("error"):
            self.error = event.error
        if kind == task_pb2.TaskEvent.TYPE_SUBMITTED:
            self._was_created(event.time)
        elif kind == task_pb2.TaskEvent.TYPE_STARTED:
            # Each attempt begins anew.
            self.progress = self.error = None
        elif kind == task_pb2.TaskEvent.TYPE_PROGRESSED:
            self.progress = event.progress
        elif kind == task_pb2.TaskEvent.TYPE_SUCCEEDED:
            self.result = event.result if event.HasField("result") else None
        elif kind == task_pb2.TaskEvent.TYPE_CANCELLED:
            self.error = None
            self.cancel_reason = event.cancel_reason
        if self.finished:
            self._ended = _aware(event.time)

    def _was_created(self, created: Timestamp) -> None:
        self._created = _aware(created)
        age = (datetime.now(UTC) - self._created).total_seconds()
        # Where this machine's clock is behind the server's the task would be younger than nothing.
        self._clock_at_creation = time.monotonic() - max(age, 0.0)

    def _waiting_for(self) -> str:
        when = "" if self.next_start is None else f" at {words.clock(self.next_start)}"
        if self.error is not None:
            return f"attempt {self.attempt} failed, next{when}: {words.error_line(self.error)}"
        return f"starts{when}" if when else "waiting for a worker"


def _aware(time_: Timestamp) -> datetime:
    return time_.ToDatetime(tzinfo=UTC)
