"""`def` handlers, each in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from worker_service.runners.call import call_handler

if TYPE_CHECKING:
    from shared.domain.task import Task
    from worker_service.context import TaskContext
    from worker_service.outcome import Outcome
    from worker_service.registry import Handler


class ThreadRunner:
    """A thread cannot be stopped from outside: it learns from its context, and keeps its slot until it returns."""

    def __init__(self, *, threads: int, max_result_bytes: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._max_result_bytes = max_result_bytes

    async def run(self, handler: Handler[..., Any], task: Task, context: TaskContext) -> Outcome:
        """See `Runner.run`."""
        within = contextvars.copy_context()

        def call() -> Outcome:
            return within.run(call_handler, handler, task, context, max_bytes=self._max_result_bytes)

        returning = asyncio.get_running_loop().run_in_executor(self._threads, call)
        while not returning.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([returning])
        return returning.result()

    async def close(self) -> None:
        """See `Runner.close`. A thread that does not listen must not hold up the end of the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)
