"""`async def` handlers, on the worker's event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker_service.runners.call import await_handler

if TYPE_CHECKING:
    from shared.domain.task import Task
    from worker_service.context import TaskContext
    from worker_service.outcome import Outcome
    from worker_service.registry import Handler


class LoopRunner:
    """Cancels a handler at its next `await`; one that goes on all the same is waited for."""

    def __init__(self, *, max_result_bytes: int) -> None:
        self._max_result_bytes = max_result_bytes

    async def run(self, handler: Handler[..., Any], task: Task, context: TaskContext) -> Outcome:
        """See `Runner.run`."""
        return await await_handler(handler, task, context, max_bytes=self._max_result_bytes)

    async def close(self) -> None:
        """See `Runner.close`. Nothing can be done that a cancellation has not done."""
