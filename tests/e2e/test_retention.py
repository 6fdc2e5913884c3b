"""Kept for as long as was asked, then gone with every trace; and long logs that lose their middle."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from typing import TYPE_CHECKING

import grpc
import pytest
import redis
from google.protobuf.duration_pb2 import Duration

from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.domain.commands import Claim, ReportProgress, Succeed
from shared.domain.decide import LINGER
from shared.domain.task import AttemptTerms, TaskProgress
from shared.journal import Done, Journal
from shared.json_values import encode_json
from taskcast.v1 import task_pb2, task_service_pb2
from tests.clients import calling, refusal
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.domain.commands import Command
    from tests.clients import Caller
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

NOTHING = Duration()
WITHIN = 30.0


@pytest.fixture(name="caller")
async def _caller(standing_stack: Stack) -> AsyncIterator[Caller]:
    async with calling(standing_stack.address) as caller:
        yield caller


async def listed(caller: Caller, queue: str) -> list[str]:
    request = task_service_pb2.ListTasksRequest(filter=task_service_pb2.TaskFilter(queue=queue))
    return [task.id for task in (await caller.stub.ListTasks(request, timeout=10)).tasks]


def traces(stack: Stack, task_id: str) -> list[str]:
    """Whatever Redis has of a task, apart from what goes by itself: that it ended lately, and that it was there."""
    member = uuid.UUID(task_id).bytes
    found = []
    with redis.Redis.from_url(stack.redis_url) as server:
        for key in server.scan_iter(f"{stack.namespace}:*"):
            name = key.decode()
            if name.endswith((":ended", ":forgotten")):
                assert server.pttl(key) > 0
            elif task_id in name or (
                server.type(key) == b"zset" and any(each.startswith(member) for each in server.zrange(key, 0, -1))
            ):
                found.append(name)
    return found


async def test_a_task_that_is_not_kept_can_be_read_to_its_end_and_then_leaves_no_trace(
    caller: Caller, standing_stack: Stack
) -> None:
    queue = f"q-{secrets.token_hex(4)}"
    request_id = secrets.token_hex(8)
    kept = await caller.submit("test.echo", queue=queue)
    tasks = [
        kept,
        await caller.submit("test.echo", queue=queue, retention=NOTHING, request_id=request_id),
        await caller.submit("test.echo", queue=queue, retention=NOTHING, labels={"a": "b"}),
        await caller.submit("test.echo", queue=queue, retention=Duration(seconds=1)),
    ]
    assert await listed(caller, queue) == [task.id for task in reversed(tasks)]
    clock = asyncio.get_running_loop()
    began = clock.time()
    for task in tasks:
        await caller.cancel(task.id)
    gone = [task.id for task in tasks[1:]]
    assert kept.id in await listed(caller, queue)
    assert not {tasks[1].id, tasks[2].id} & set(await listed(caller, queue)), "what has expired is not listed"
    assert traces(standing_stack, gone[0]), "though it can be read to its end"
    assert (await caller.get(gone[0])).status == task_pb2.TASK_STATUS_CANCELLED

    for task_id in gone:

        async def expired(task_id: str = task_id) -> bool:
            return not await asyncio.to_thread(traces, standing_stack, task_id)

        await eventually_async(expired, within=WITHIN, what="every trace of an expired task to be gone")
    assert clock.time() - began > LINGER / 1_000 - 1
    assert await listed(caller, queue) == [kept.id]
    for task_id in gone:
        for answer in (
            refusal(caller.get(task_id)),
            refusal(caller.cancel(task_id)),
            refusal(caller.stub.RetryTask(task_service_pb2.RetryTaskRequest(task_id=task_id))),
        ):
            problem = await answer
            assert (problem.code, problem.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_EXPIRED")
        watched = await caller.watch(task_id)
        assert watched.problem
        assert watched.problem.reason == "TASK_EXPIRED"

    again = await caller.submit_answer("test.echo", queue=queue, request_id=request_id)
    assert (again.task.id, again.duplicate) == (gone[0], False)
    assert (await caller.get(again.task.id)).status == task_pb2.TASK_STATUS_WAITING
    await caller.cancel(again.task.id)


async def test_a_watch_that_resumes_where_a_long_log_was_thinned_is_refused_and_told_what_is_left(
    caller: Caller, standing_stack: Stack
) -> None:
    # No worker serves this queue: the test reports in its place.
    task = await caller.submit("test.echo", queue=f"q-{secrets.token_hex(4)}")
    await _live(standing_stack, task.id, reports=1_100)

    first = 0
    for after in (0, 100, 500):
        watched = await caller.watch(task.id, after)
        assert watched.problem
        assert (watched.problem.code, watched.problem.reason) == (grpc.StatusCode.OUT_OF_RANGE, "SEQUENCE_COMPACTED")
        assert watched.problem.metadata["last_sequence"] == "1103"
        first = int(watched.problem.metadata["first_sequence"])
        assert 1_103 - 1_024 < first <= 1_103 - 511
    watched = await caller.watch(task.id, first - 1)
    assert watched.problem is None
    assert watched.sequences == list(range(first, 1_104))
    assert watched.events[-1].status == task_pb2.TASK_STATUS_SUCCESS
    snapshot = await caller.watch(task.id, None)
    assert snapshot.problem is None
    assert [each.status for each in snapshot.snapshots] == [task_pb2.TASK_STATUS_SUCCESS]


async def _live(stack: Stack, task_id: str, *, reports: int) -> None:
    """Claim a task, report so often, and succeed."""
    record = RedisRecord(stack.redis_url, prefix=stack.namespace)
    clock = RecordClock(record)
    try:
        await clock.synchronise()
        journal = Journal(record, clock, lambda _key, _body: None)
        commands: list[Command] = [
            ReportProgress(attempt=1, progress=TaskProgress(completed=number), lease=60_000)
            for number in range(reports)
        ]
        claim = Claim(worker="the test", terms=AttemptTerms(attempt_timeout=0), lease=60_000)
        done = await journal.execute(task_id, claim)
        assert isinstance(done, Done)
        for start in range(0, reports, 100):
            done = await journal.execute(task_id, *commands[start : start + 100], known=done.task)
            assert isinstance(done, Done)
        ended = await journal.execute(task_id, Succeed(attempt=1, result=encode_json(1, "result")), known=done.task)
        assert isinstance(ended, Done)
    finally:
        await record.close()
