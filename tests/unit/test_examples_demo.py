from __future__ import annotations

import time
from typing import Any

import pytest

from examples.demo import steps
from tests.unit.handler_context import make_context
from worker_service import TaskFailed


async def test_the_steps_take_the_time_that_was_asked_for_and_are_reported() -> None:
    ctx, reports = make_context()
    began = time.monotonic()
    assert await steps(ctx, {"duration": 0.2, "steps": 4}) == {"steps": 4, "attempt": 1}
    assert 0.2 <= time.monotonic() - began < 2
    assert [report.percent for report in reports] == [25, 50, 75, 100]
    assert reports[-1].message == "step 4 of 4"


async def test_no_payload_is_a_payload_of_defaults() -> None:
    ctx, reports = make_context()
    with pytest.raises(RuntimeError, match="of 10 failed"):
        await steps(ctx, {"failure_chance": 1, "duration": 0})
    assert len(reports) < 10
    assert steps.declared.attempt_timeout is not None
    assert steps.declared.attempt_timeout > 3_600


async def test_with_a_seed_an_attempt_fails_in_the_same_step_each_time_and_the_next_in_its_own() -> None:
    async def failing_step(attempt: int) -> str:
        ctx, _ = make_context(attempt=attempt)
        with pytest.raises(RuntimeError) as caught:
            await steps(ctx, {"duration": 0, "steps": 1_000, "failure_chance": 1, "seed": 7})
        return str(caught.value)

    assert await failing_step(1) == await failing_step(1)
    assert await failing_step(1) != await failing_step(2)


async def test_chance_fails_as_many_attempts_as_it_says() -> None:
    failures = 0
    for attempt in range(1, 401):
        ctx, _ = make_context(attempt=attempt)
        try:
            await steps(ctx, {"duration": 0, "steps": 2, "failure_chance": 0.3, "seed": 1})
        except RuntimeError:
            failures += 1
    assert 80 <= failures <= 160


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ([], "payload must be an object"),
        ({"step": 3}, "payload.step is not known"),
        ({"duration": -1}, "payload.duration"),
        ({"duration": "2"}, "payload.duration"),
        ({"duration": float("nan")}, "payload.duration"),
        ({"steps": 0}, "payload.steps"),
        ({"steps": 2.5}, "payload.steps"),
        ({"steps": True}, "payload.steps"),
        ({"failure_chance": 2}, "payload.failure_chance"),
        ({"seed": "x"}, "payload.seed"),
    ],
)
async def test_a_bad_payload_is_told_by_its_field(payload: Any, field: str) -> None:
    ctx, _ = make_context()
    with pytest.raises(TaskFailed) as caught:
        await steps(ctx, payload)
    assert caught.value.code == "BAD_PAYLOAD"
    assert field in caught.value.message
