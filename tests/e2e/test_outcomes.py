"""Each way in which a task can end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from taskcast.v1 import task_pb2
from tests.clients import calling, expect_whole_history, plain
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


async def _run(caller: Caller, type_: str, payload: object = None, **fields: Any) -> task_pb2.Task:
    """The task once it has ended, its history checked."""
    task = await caller.submit(type_, payload, **fields)
    watched = await caller.watch(task.id)
    finished = await caller.get(task.id)
    expect_whole_history(watched, finished)
    return finished


@pytest.mark.parametrize(
    "payload",
    [
        None,
        True,
        0,
        -1.5,
        2**53,
        "",
        "ä\u0000🎉",
        [],
        {},
        {"deep": [{"er": [None, {"": "empty key"}]}]},
        "x" * 70_000,  # does not travel with the task message
        "x" * 1_000_000,
    ],
    ids=lambda payload: f"{type(payload).__name__}-{str(payload)[:12].encode('ascii', 'replace').decode()}",
)
async def test_a_payload_reaches_the_handler_and_comes_back_as_it_was(caller: Caller, payload: object) -> None:
    finished = await _run(caller, "test.echo", payload)

    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
    assert plain(finished.payload) == payload
    assert plain(finished.result) == payload


async def test_a_type_that_no_handler_serves_ends_in_error(caller: Caller) -> None:
    finished = await _run(caller, "test.unheard-of")

    assert finished.status == task_pb2.TASK_STATUS_ERROR
    assert finished.error.code == "UNKNOWN_TASK_TYPE"
    assert "test.unheard-of" in finished.error.message


async def test_an_exception_is_retried_as_the_policy_says_and_then_an_error(
    standing_stack: Stack, caller: Caller
) -> None:
    finished = await _run(caller, "test.boom", "!")

    assert finished.status == task_pb2.TASK_STATUS_ERROR
    assert finished.error.code == "UNHANDLED_EXCEPTION"
    assert finished.error.message == "RuntimeError: boom !"
    assert finished.attempt == 2
    assert [a.error.code for a in finished.attempts] == ["UNHANDLED_EXCEPTION"] * 2
    assert [a.outcome for a in finished.attempts] == [task_pb2.TASK_STATUS_WAITING, task_pb2.TASK_STATUS_ERROR]
    pause = finished.attempts[1].start_time.ToMilliseconds() - finished.attempts[0].end_time.ToMilliseconds()
    assert pause >= 80, "the second attempt came before its back-off of 100 ms, less 20 % of jitter"
    assert len(standing_stack.noted(finished.id, "ran")) == 2


async def test_what_the_submission_says_of_retries_goes_before_what_the_handler_says(caller: Caller) -> None:
    policy = task_pb2.RetryPolicy(max_attempts=4, initial_backoff=Duration(nanos=10_000_000))
    finished = await _run(caller, "test.boom", retry_policy=policy)

    assert finished.attempt == 4
    assert finished.retry_policy.max_attempts == 4


async def test_a_task_that_fails_a_few_times_succeeds_in_the_end(caller: Caller) -> None:
    finished = await _run(caller, "test.flaky", {"succeeds_at": 4})

    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
    assert finished.attempt == 4
    assert not finished.HasField("error")


async def test_a_retried_task_has_its_large_payload_again(caller: Caller) -> None:
    finished = await _run(caller, "test.flaky", {"succeeds_at": 3, "filler": "x" * 300_000})

    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
    assert plain(finished.result)["filler"] == "x" * 300_000


async def test_a_handler_can_ask_for_another_attempt_later(caller: Caller) -> None:
    finished = await _run(caller, "test.later", {"after": 0.3})

    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
    assert finished.attempts[0].error.code == "RETRY_LATER"
    pause = finished.attempts[1].start_time.ToMilliseconds() - finished.attempts[0].end_time.ToMilliseconds()
    assert 290 <= pause < 5_000


async def test_task_failed_ends_a_task_without_another_attempt(standing_stack: Stack, caller: Caller) -> None:
    finished = await _run(caller, "test.fail")

    assert finished.status == task_pb2.TASK_STATUS_FAILED
    assert (finished.error.code, finished.error.message) == ("NO_LUCK", "there is nothing to be done")
    assert len(standing_stack.noted(finished.id, "ran")) == 1


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"what": "set"}, "RESULT_NOT_JSON"),
        ({"what": "nan"}, "RESULT_NOT_JSON"),
        ({"what": "keys"}, "RESULT_NOT_JSON"),
        ({"bytes": (1 << 20) + 1}, "RESULT_TOO_LARGE"),
    ],
)
async def test_a_result_that_cannot_be_kept_is_an_error_and_not_tried_again(
    standing_stack: Stack, caller: Caller, payload: object, code: str
) -> None:
    finished = await _run(caller, "test.returns", payload)

    assert finished.status == task_pb2.TASK_STATUS_ERROR
    assert finished.error.code == code
    assert len(standing_stack.noted(finished.id, "ran")) == 1


async def test_the_largest_result_is_kept(caller: Caller) -> None:
    size = (1 << 20) - 16
    finished = await _run(caller, "test.returns", {"bytes": size})

    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
    assert len(plain(finished.result)) == size


async def test_a_task_that_does_not_finish_within_its_timeout_ends_in_timeout_and_its_handler_is_told(
    standing_stack: Stack, caller: Caller
) -> None:
    payload = {"gate": str(standing_stack.gate())}
    finished = await _run(caller, "test.hold", payload, timeout=Duration(seconds=1))

    assert finished.status == task_pb2.TASK_STATUS_TIMEOUT
    assert finished.error.code == "TASK_TIMEOUT"
    assert 1_000 <= _lasted(finished) < 3_000
    assert standing_stack.noted(finished.id, "told")


async def test_an_attempt_that_takes_too_long_is_repeated_and_then_a_timeout(
    standing_stack: Stack, caller: Caller
) -> None:
    policy = task_pb2.RetryPolicy(max_attempts=2, initial_backoff=Duration(nanos=10_000_000))
    finished = await _run(
        caller,
        "test.hold",
        {"gate": str(standing_stack.gate()), "report": True},
        attempt_timeout=Duration(nanos=500_000_000),
        retry_policy=policy,
    )

    assert finished.status == task_pb2.TASK_STATUS_TIMEOUT
    assert [attempt.error.code for attempt in finished.attempts] == ["ATTEMPT_TIMEOUT"] * 2
    for attempt in finished.attempts:
        assert 500 <= attempt.end_time.ToMilliseconds() - attempt.start_time.ToMilliseconds() < 2_500


async def test_a_task_times_out_although_no_worker_serves_its_queue(caller: Caller) -> None:
    finished = await _run(caller, "test.echo", queue="unserved", timeout=Duration(seconds=1))

    assert finished.status == task_pb2.TASK_STATUS_TIMEOUT
    assert finished.attempt == 0
    assert 1_000 <= _lasted(finished) < 3_000


async def test_a_scheduled_task_does_not_start_early(caller: Caller) -> None:
    due = record_time() + 1.5
    stamp = Timestamp(seconds=int(due), nanos=int(due % 1 * 1e9))
    finished = await _run(caller, "test.echo", 1, schedule_time=stamp)

    late = finished.start_time.ToMilliseconds() / 1_000 - due
    assert -0.1 < late < 3


async def test_a_handler_that_blocks_the_event_loop_beyond_its_lease_runs_once_and_to_its_end(
    standing_stack: Stack, caller: Caller
) -> None:
    # The lease is 2 s.
    others = [await caller.submit("test.echo", number) for number in range(5)]
    finished = await _run(caller, "test.blocks_the_loop", {"seconds": 4.5})
    await asyncio.gather(*(caller.until_finished(other.id) for other in others))

    assert finished.status == task_pb2.TASK_STATUS_SUCCESS
    assert finished.attempt == 1
    assert len(standing_stack.noted(finished.id, "ran")) == 1
    assert len(standing_stack.noted(finished.id, "returned")) == 1


def _lasted(task: task_pb2.Task) -> int:
    return task.end_time.ToMilliseconds() - task.create_time.ToMilliseconds()
