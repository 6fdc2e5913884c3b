"""What is known of many tasks that are being watched."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from taskcast.cli import words
from taskcast.cli.view import TaskView
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskcast.v1.task_service_pb2 import WatchTasksResponse

_ENDINGS = (
    (task_pb2.TASK_STATUS_SUCCESS, "succeeded"),
    (task_pb2.TASK_STATUS_FAILED, "failed"),
    (task_pb2.TASK_STATUS_ERROR, "in error"),
    (task_pb2.TASK_STATUS_TIMEOUT, "timed out"),
    (task_pb2.TASK_STATUS_CANCELLED, "cancelled"),
)
_UNDER_WAY = ((task_pb2.TASK_STATUS_PROCESSING, "running"), (task_pb2.TASK_STATUS_WAITING, "waiting"))


class ManyView:
    """Tasks as their watcher sees them, and how many of them stand where."""

    def __init__(self, task_ids: Iterable[str]) -> None:
        self.tasks = {task_id: TaskView(task_id) for task_id in task_ids}
        self.running: dict[str, TaskView] = {}
        """The tasks that a worker has, the longest running first."""
        self._by_status: Counter[task_pb2.TaskStatus.ValueType] = Counter(
            {task_pb2.TASK_STATUS_UNSPECIFIED: len(self.tasks)}
        )
        self._began = time.monotonic()

    def take(self, update: WatchTasksResponse) -> TaskView | None:
        """Take note of a snapshot or an event; the task that it is about, if it is about one."""
        match update.WhichOneof("update"):
            case "snapshot":
                view = self.tasks[update.snapshot.id]
            case "event":
                view = self.tasks[update.event.task_id]
            case _:
                return None
        before = view.status
        view.take(update)
        self._by_status[before] -= 1
        self._by_status[view.status] += 1
        if view.status == task_pb2.TASK_STATUS_PROCESSING:
            self.running.setdefault(view.id, view)
        else:
            self.running.pop(view.id, None)
        return view

    @property
    def finished(self) -> int:
        """How many tasks have finished."""
        return sum(self._by_status[status] for status, _ in _ENDINGS)

    @property
    def all_succeeded(self) -> bool:
        """Whether each has, and none is under way."""
        return self._by_status[task_pb2.TASK_STATUS_SUCCESS] == len(self.tasks)

    @property
    def any_did_not_succeed(self) -> bool:
        """Whether one has finished in another way."""
        return self.finished > self._by_status[task_pb2.TASK_STATUS_SUCCESS]

    @property
    def percent(self) -> float:
        """How much of all is done, the shares of those that run included."""
        if not self.tasks:
            return 100.0
        shares = sum(view.percent or 0.0 for view in self.running.values())
        return min((100.0 * self.finished + shares) / len(self.tasks), 100.0)

    @property
    def tally(self) -> str:
        """How many stand where, like "8 succeeded, 1 failed, 3 running, 20 waiting"."""
        counts = [(self._by_status[status], word) for status, word in (*_ENDINGS, *_UNDER_WAY)]
        return ", ".join(f"{words.count(number)} {word}" for number, word in counts if number)

    @property
    def elapsed(self) -> timedelta:
        """How long they have been watched."""
        return timedelta(seconds=time.monotonic() - self._began)

    @property
    def outcome(self) -> str:
        """All in one line. For tasks that have finished."""
        noun = "task" if len(self.tasks) == 1 else "tasks"
        return f"{words.count(len(self.tasks))} {noun} in {words.seconds(self.elapsed)}: {self.tally or 'none'}"
