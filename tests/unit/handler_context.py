"""A real TaskContext for calling a handler as a function, which keeps what the handler reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.domain.task import Task, TaskSpec
from worker_service import TaskContext

if TYPE_CHECKING:
    from shared.domain.task import TaskProgress


def make_context(*, attempt: int = 1) -> tuple[TaskContext, list[TaskProgress]]:
    """The context, and the list to which every report is added."""
    reports: list[TaskProgress] = []
    task = Task(id="0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001", tenant="t", spec=TaskSpec(type="x"), attempt=attempt)
    return TaskContext(task, report=reports.append, loop=None), reports
