"""Tasks that are to start later: not before their time, and not long after it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from shared.domain.decide import CLAIM_TOLERANCE
from taskcast.v1 import task_pb2
from tests.clients import all_finished, calling
from tests.stack import record_time

if TYPE_CHECKING:
    from tests.clients import Caller
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

CLIENTS = 16
CONNECTIONS = 4


def _stamp(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


@pytest.mark.parametrize(
    ("tasks", "head_start", "window", "latest"),
    [
        # A machine that runs other tests beside it may be late; that nothing is early or lost holds anywhere.
        pytest.param(400, 2.0, 3.0, 3.0, id="400 in 3 s"),
        pytest.param(10_000, 40.0, 60.0, 0.25, id="10000 in 60 s", marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
    ],
)
async def test_tasks_that_fall_due_together_start_on_time_and_once(
    own_stack: Stack, tasks: int, head_start: float, window: float, latest: float
) -> None:
    """`latest`: seconds after its time by which 99 of 100 tasks have started."""
    own_stack.start(gateways=1, workers=1)
    begin = record_time() + head_start
    due: dict[str, float] = {}
    numbers = iter(range(tasks))

    async def submit_some(caller: Caller) -> None:
        for number in numbers:
            time = begin + window * number / tasks
            task = await caller.submit("test.echo", number, schedule_time=_stamp(time))
            due[task.id] = time

    async with AsyncExitStack() as opened:
        callers = [await opened.enter_async_context(calling(own_stack.address)) for _ in range(CONNECTIONS)]
        await asyncio.gather(*(submit_some(callers[n % CONNECTIONS]) for n in range(CLIENTS)))
        assert record_time() < begin, "the tasks fell due while they were still submitted"
        finished = await all_finished(callers[0], due, within=head_start + window + 60)

    late = sorted(task.start_time.ToMilliseconds() / 1_000 - due[task.id] for task in finished)
    median, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
    print(f"{tasks} tasks due in {window:g} s started {median * 1e3:.0f} ms late (median), {p99 * 1e3:.0f} ms (p99)")
    assert {(task.status, task.attempt) for task in finished} == {(task_pb2.TASK_STATUS_SUCCESS, 1)}
    assert len(own_stack.noted(what="ran")) == tasks, "a task ran twice, or never"
    assert late[0] >= -CLAIM_TOLERANCE / 1_000
    assert p99 <= latest
