"""The timeout of a whole task ends it wherever it stands; `test_outcomes.py` has those of what runs or waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from taskcast.v1 import task_pb2
from tests.clients import calling, expect_whole_history
from tests.stack import record_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.clients import Caller
    from tests.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(name="caller")
async def _caller(standing_stack: Stack) -> AsyncIterator[Caller]:
    async with calling(standing_stack.address) as caller:
        yield caller


async def test_a_task_times_out_while_it_waits_for_its_next_attempt(caller: Caller) -> None:
    policy = task_pb2.RetryPolicy(max_attempts=5, initial_backoff=Duration(seconds=600))
    task = await caller.submit("test.boom", retry_policy=policy, timeout=Duration(seconds=1))
    watched = await caller.watch(task.id)
    finished = await caller.get(task.id)

    assert watched.types == ["SUBMITTED", "STARTED", "RETRY_SCHEDULED", "TIMED_OUT"]
    expect_whole_history(watched, finished)
    assert finished.status == task_pb2.TASK_STATUS_TIMEOUT
    assert finished.error.code == "TASK_TIMEOUT"
    assert [attempt.error.code for attempt in finished.attempts] == ["UNHANDLED_EXCEPTION"]
    assert not finished.HasField("next_attempt_time")


async def test_the_timeout_of_a_delayed_task_counts_from_its_schedule_time(caller: Caller) -> None:
    due = record_time() + 1.5
    task = await caller.submit(
        "test.echo",
        queue="unserved",
        schedule_time=Timestamp(seconds=int(due), nanos=int(due % 1 * 1e9)),
        timeout=Duration(seconds=1),
    )
    watched = await caller.watch(task.id)
    finished = await caller.get(task.id)

    assert watched.types == ["SUBMITTED", "TIMED_OUT"]
    assert finished.error.code == "TASK_TIMEOUT"
    assert 0.9 < finished.end_time.ToMilliseconds() / 1_000 - due < 4


async def test_a_retry_that_would_come_after_the_timeout_does_not_outlive_it(caller: Caller) -> None:
    task = await caller.submit("test.later", {"after": 300}, timeout=Duration(seconds=1))
    finished = await caller.until_finished(task.id)

    assert finished.status == task_pb2.TASK_STATUS_TIMEOUT
    assert [attempt.error.code for attempt in finished.attempts] == ["RETRY_LATER"]
    assert finished.end_time.ToMilliseconds() - finished.create_time.ToMilliseconds() < 4_000


async def test_a_task_that_timed_out_while_it_waited_never_runs(standing_stack: Stack, caller: Caller) -> None:
    due = record_time() + 0.5
    task = await caller.submit(
        "test.echo",
        queue="unserved",
        schedule_time=Timestamp(seconds=int(due), nanos=int(due % 1 * 1e9)),
        timeout=Duration(nanos=200_000_000),
    )
    await caller.until_finished(task.id)
    late = standing_stack.new_worker(WORKER_QUEUES="unserved")
    try:
        late.start()
        # The worker takes messages in order: when this one has run, the older one has been dropped.
        last = await caller.submit("test.echo", queue="unserved")
        await caller.until_finished(last.id)
    finally:
        late.stop()
        standing_stack.workers.remove(late)

    assert not standing_stack.noted(task.id)
    assert (await caller.get(task.id)).status == task_pb2.TASK_STATUS_TIMEOUT
