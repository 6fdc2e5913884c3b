"""The worker: runs handlers. What a handler's author needs is importable from here."""

from worker_service.context import TaskContext
from worker_service.outcome import RetryLater, TaskCancelled, TaskFailed
from worker_service.registry import Handler, task

__all__ = ["Handler", "RetryLater", "TaskCancelled", "TaskContext", "TaskFailed", "task"]
