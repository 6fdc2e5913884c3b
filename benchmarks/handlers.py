"""What the benchmarks' worker runs: as little as possible."""

from __future__ import annotations

from typing import Any

from worker_service import TaskContext, task


@task("bench.noop")
async def noop(ctx: TaskContext, payload: Any) -> Any:
    """Return the payload."""
    del ctx
    return payload


@task("bench.thread")
def in_a_thread(ctx: TaskContext, payload: Any) -> Any:
    """Return the payload, in a thread."""
    del ctx
    return payload


@task("bench.process", isolation="process")
def in_a_process(ctx: TaskContext, payload: Any) -> Any:
    """Return the payload, in a child process."""
    del ctx
    return payload
