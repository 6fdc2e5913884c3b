"""What the benchmarks' worker runs: as little as possible."""

from __future__ import annotations

from typing import Any

from worker_service import TaskContext, task


@task("bench.noop")
async def noop(ctx: TaskContext, payload: Any) -> Any:
    """Return the payload."""
    del ctx
    return payload
