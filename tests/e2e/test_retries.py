"""Retries as the policy says, and time limits as submission, handler and settings say, in this order."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration

from taskcast.v1 import task_pb2
from tests.clients import calling, expect_whole_history

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.clients import Caller, Watched
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

RETRY_SCHEDULED = task_pb2.TaskEvent.TYPE_RETRY_SCHEDULED


def _seconds(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(round(seconds * 1_000))
    return duration


def _waits(watched: Watched) -> list[int]:
    """How long each retry was told to wait, milliseconds."""
    return [
        event.next_attempt_time.ToMilliseconds() - event.time.ToMilliseconds()
        for event in watched.events
        if event.type == RETRY_SCHEDULED
    ]


async def _run(caller: Caller, type_: str, payload: object = None, **fields: Any) -> tuple[Watched, task_pb2.Task]:
    """Watch a task to its end; its history checked."""
    task = await caller.submit(type_, payload, **fields)
    watched = await caller.watch(task.id)
    finished = await caller.get(task.id)
    expect_whole_history(watched, finished)
    return watched, finished


async def test_the_waits_grow_by_the_multiplier_up_to_the_longest(standing_stack: Stack) -> None:
    policy = task_pb2.RetryPolicy(
        max_attempts=5,
        initial_backoff=_seconds(0.1),
        backoff_multiplier=2,
        max_backoff=_seconds(0.3),
        jitter=0,
    )
    async with calling(standing_stack.address) as caller:
        watched, finished = await _run(caller, "test.boom", retry_policy=policy)

    assert _waits(watched) == [100, 200, 300, 300]
    assert finished.status == task_pb2.TASK_STATUS_ERROR
    assert [attempt.number for attempt in finished.attempts] == [1, 2, 3, 4, 5]
    for attempt in finished.attempts:
        assert attempt.worker
        assert attempt.error.code == "UNHANDLED_EXCEPTION"
        assert attempt.start_time.ToMilliseconds() <= attempt.end_time.ToMilliseconds()
    scheduled = [event for event in watched.events if event.type == RETRY_SCHEDULED]
    assert {event.status for event in scheduled} == {task_pb2.TASK_STATUS_WAITING}


async def test_jitter_shortens_the_waits_and_the_task_shows_what_holds(standing_stack: Stack) -> None:
    policy = task_pb2.RetryPolicy(max_attempts=4, initial_backoff=_seconds(0.2), backoff_multiplier=1, jitter=1)
    async with calling(standing_stack.address) as caller:
        watched, finished = await _run(caller, "test.boom", retry_policy=policy)
        _, ordinary = await _run(caller, "test.boom")

    waits = _waits(watched)
    assert len(waits) == 3
    assert all(0 <= wait <= 200 for wait in waits)
    assert len(set(waits)) == 3, "each attempt draws its own"
    assert finished.retry_policy.jitter == 1
    assert ordinary.retry_policy.jitter == 0.2


async def test_a_handler_that_asks_for_a_time_gets_it_without_back_off_or_jitter(standing_stack: Stack) -> None:
    policy = task_pb2.RetryPolicy(initial_backoff=_seconds(60), jitter=1)
    async with calling(standing_stack.address) as caller:
        watched, finished = await _run(caller, "test.later", {"after": 0.25}, retry_policy=policy)

    assert _waits(watched) == [250]
    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
    assert finished.attempts[0].error == task_pb2.TaskError(code="RETRY_LATER", message="not yet")


async def test_a_handler_that_asks_for_a_time_after_its_last_attempt_has_used_them_up(standing_stack: Stack) -> None:
    async with calling(standing_stack.address) as caller:
        policy = task_pb2.RetryPolicy(max_attempts=1)
        _, finished = await _run(caller, "test.later", {"after": 0.1}, retry_policy=policy)

    assert finished.status == task_pb2.TASK_STATUS_ERROR
    assert finished.error.code == "RETRY_LATER"


async def test_a_failed_task_is_never_retried_however_many_attempts_are_allowed(standing_stack: Stack) -> None:
    async with calling(standing_stack.address) as caller:
        watched, finished = await _run(caller, "test.fail", retry_policy=task_pb2.RetryPolicy(max_attempts=100))

    assert watched.types == ["SUBMITTED", "STARTED", "FAILED"]
    assert finished.status == task_pb2.TASK_STATUS_FAILED
    assert len(standing_stack.noted(finished.id, "ran")) == 1


@asynccontextmanager
async def _limited(stack: Stack, **settings: str) -> AsyncIterator[Caller]:
    """A caller of a system with these settings."""
    stack.new_gateway(**settings)
    stack.new_worker(**settings)
    stack.start(gateways=0, workers=0)
    async with calling(stack.address) as caller:
        yield caller


async def test_a_submission_that_says_nothing_gets_the_time_limits_of_the_settings(own_stack: Stack) -> None:
    limits = {"TASKCAST_TIMEOUT_SECONDS": "1.5", "TASKCAST_ATTEMPT_TIMEOUT_SECONDS": "0.4"}
    payload = {"gate": str(own_stack.gate())}
    twice = task_pb2.RetryPolicy(max_attempts=2, initial_backoff=_seconds(0))
    async with _limited(own_stack, **limits) as caller:
        _, by_attempt = await _run(caller, "test.linger", payload, timeout=_seconds(0), retry_policy=twice)
        # The handler of test.hold declares an attempt_timeout of 0, which goes before the settings.
        _, by_task = await _run(caller, "test.hold", payload)

        unserved = await caller.submit("test.echo", queue="unserved", timeout=_seconds(0))
        gate = own_stack.gate()
        endless = await caller.submit(
            "test.linger", {"gate": str(gate)}, timeout=_seconds(0), attempt_timeout=_seconds(0)
        )
        running = await caller.until_running(endless.id)
        # Both limits of the settings pass meanwhile.
        await caller.until_finished((await caller.submit("test.hold", payload)).id)
        gate.open()
        finished = await caller.until_finished(endless.id)
        still_waits = await caller.get(unserved.id)

    assert by_attempt.status == task_pb2.TASK_STATUS_TIMEOUT
    assert [attempt.error.code for attempt in by_attempt.attempts] == ["ATTEMPT_TIMEOUT"] * 2
    assert by_attempt.attempt_timeout == _seconds(0.4)
    assert (by_task.status, by_task.error.code) == (task_pb2.TASK_STATUS_TIMEOUT, "TASK_TIMEOUT")
    assert by_task.timeout == _seconds(1.5)
    assert running.timeout == running.attempt_timeout == _seconds(0)
    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
    assert still_waits.status == task_pb2.TASK_STATUS_WAITING


async def test_without_a_word_of_anyone_a_task_has_no_time_limit_and_an_attempt_sixty_seconds(
    standing_stack: Stack,
) -> None:
    async with calling(standing_stack.address) as caller:
        _, finished = await _run(caller, "test.echo")

    assert not finished.HasField("timeout")
    assert finished.attempt_timeout == _seconds(60)
    assert finished.retry_policy == task_pb2.RetryPolicy(
        max_attempts=3,
        initial_backoff=_seconds(1),
        max_backoff=_seconds(300),
        backoff_multiplier=2,
        jitter=0.2,
    )
