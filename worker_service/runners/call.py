"""A call of a handler's function, and the outcome that it leads to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shared.json_values import decode_json
from worker_service import outcome
from worker_service.outcome import TaskCancelled

if TYPE_CHECKING:
    from shared.domain.task import Task
    from worker_service.context import TaskContext
    from worker_service.outcome import Outcome
    from worker_service.registry import Handler

STOPPED = (asyncio.CancelledError, TaskCancelled)
"""What a handler lets out when it heeds the word to stop."""


async def await_handler(handler: Handler[..., Any], task: Task, context: TaskContext, *, max_bytes: int) -> Outcome:
    """Run an `async def` handler. Raises what is in STOPPED, and nothing else."""
    try:
        result = await handler(context, decode_json(task.spec.payload or b""))
    except STOPPED:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  # Whatever a handler raises is its outcome.
        return _raised(context, error)
    return outcome.of_result(task.attempt, result, max_bytes=max_bytes)


def call_handler(handler: Handler[..., Any], task: Task, context: TaskContext, *, max_bytes: int) -> Outcome:
    """Run a `def` handler in this thread. Raises what is in STOPPED, and nothing else."""
    try:
        result = handler(context, decode_json(task.spec.payload or b""))
    except STOPPED:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  # As above.
        return _raised(context, error)
    return outcome.of_result(task.attempt, result, max_bytes=max_bytes)


def _raised(context: TaskContext, error: BaseException) -> Outcome:
    context.log.warning("handler.raised", exc_info=error)
    return outcome.of_exception(context.attempt, error)
