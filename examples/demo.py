"""`demo.steps`: a job that only takes time, to see how tasks, retries and watches behave.

taskcast submit demo.steps --payload '{"duration": 5, "steps": 20, "failure_chance": 0.5}' --watch
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from examples.fields import check_fields, number_field, whole_number_field
from worker_service import TaskContext, task

LONGEST_SECONDS = 3_600


@task("demo.steps", attempt_timeout=LONGEST_SECONDS + 60)
async def steps(ctx: TaskContext, payload: Any) -> dict[str, int]:
    """Take `duration` seconds in equal steps, and report each.

    Payload, every field of it optional:
        duration: seconds, 0 to 3600; 2 by default.
        steps: 1 to 10,000; 10 by default.
        failure_chance: how likely an attempt is to fail with a RuntimeError in one of its steps, 0 to 1; 0 by
            default.
        seed: a whole number that makes chance repeatable: the same attempt of a task with the same payload
            fails in the same step.

    Result: `steps` done and the `attempt` that did them.
    Raises TaskFailed (BAD_PAYLOAD) for anything else.
    """
    payload = check_fields(payload, {"duration", "steps", "failure_chance", "seed"})
    duration = number_field(payload, "duration", default=2, lowest=0, highest=LONGEST_SECONDS)
    count = whole_number_field(payload, "steps", default=10, lowest=1, highest=10_000)
    chance = number_field(payload, "failure_chance", default=0, lowest=0, highest=1)
    failing_step = _failing_step(_dice(payload, ctx.attempt), count, chance)

    clock = asyncio.get_running_loop()
    began = clock.time()
    for step in range(1, count + 1):
        # Towards a fixed moment, so that the time the reports take does not add up.
        await asyncio.sleep(began + duration * step / count - clock.time())
        if step == failing_step:
            raise RuntimeError(f"step {step} of {count} failed, as chance would have it")
        await ctx.progress(completed=step, total=count, message=f"step {step} of {count}")
    return {"steps": count, "attempt": ctx.attempt}


def _dice(payload: dict[str, Any], attempt: int) -> random.Random:
    if payload.get("seed") is None:
        return random.Random()
    seed = whole_number_field(payload, "seed", default=0, lowest=-(2**53), highest=2**53)
    # Each attempt throws anew; otherwise a retry would fail like the attempt before.
    return random.Random(f"{seed}/{attempt}")


def _failing_step(dice: random.Random, count: int, chance: float) -> int | None:
    return dice.randint(1, count) if dice.random() < chance else None
