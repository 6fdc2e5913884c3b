"""A worker and what it takes for a task: messages may be old, doubled, foreign or nonsense."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
import uuid_utils

from shared.adapters.local import LocalBroker
from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.codec import encode_dispatch
from shared.domain.commands import Cancel, Claim, Retry, Submit
from shared.domain.task import AttemptTerms, RetryPolicy, TaskError, TaskPriority, TaskSpec, TaskStatus
from shared.journal import Done, Journal, Refused
from shared.json_values import encode_json
from tests.deadlines import eventually_async
from tests.stack import delete_keys
from worker_service import TaskContext, task
from worker_service.bootstrap import Worker
from worker_service.context import Interruption
from worker_service.executor import Executor
from worker_service.lease import LeaseKeeper
from worker_service.registry import Place
from worker_service.runners.loop import LoopRunner
from worker_service.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.domain.commands import Command
    from shared.domain.task import Task

pytestmark = pytest.mark.integration

LARGE = "x" * 100_000
"""More than travels with a task message."""


@dataclass
class World:
    """A record, a broker within the process and a worker, whose one handler remembers what it was given."""

    record: RedisRecord
    journal: Journal
    broker: LocalBroker
    ran: list[tuple[str, int, Any]] = field(default_factory=list)

    async def submitted(self, payload: object) -> Task:
        task_id = str(uuid_utils.uuid7())
        policy = RetryPolicy(max_attempts=5)
        spec = TaskSpec(type="remember", payload=encode_json(payload, "payload"), retry_policy=policy)
        made = await self.journal.create(task_id, Submit(task_id=task_id, tenant="default", spec=spec))
        assert isinstance(made, Done)
        return made.task

    async def dispatch(self, task: Task) -> None:
        await self.broker.dispatch("default", TaskPriority.NORMAL, encode_dispatch(task))

    async def finished(self, task_id: str) -> Task:
        async def look() -> Task | None:
            task = await self.record.read(task_id)
            return task if task is not None and task.status.is_terminal else None

        found = await eventually_async(look, within=20, what=f"task {task_id} to finish")
        assert found is not None
        return found


@pytest.fixture(name="world")
async def _world(redis_url: str, key_prefix: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        stack.callback(delete_keys, redis_url, key_prefix)
        record = RedisRecord(redis_url, prefix=key_prefix)
        stack.push_async_callback(record.close)
        clock = RecordClock(record)
        await clock.synchronise()
        broker = LocalBroker()
        stack.push_async_callback(broker.close)
        world = World(record, Journal(record, clock, broker.broadcast), broker)

        @task("remember")
        async def remember(ctx: TaskContext, payload: Any) -> None:
            world.ran.append((ctx.task_id, ctx.attempt, payload))

        settings = WorkerSettings.model_validate(
            {"REDIS_URL": redis_url, "TASKCAST_NAMESPACE": key_prefix, "WORKER_DRAIN_SECONDS": 1}
        )
        await stack.enter_async_context(Worker(settings, {"remember": remember}, broker=broker))
        yield world


@pytest.mark.parametrize("payload", ["small", LARGE], ids=["small", "large"])
async def test_an_old_message_of_a_task_that_waits_again_runs_it_with_its_payload(world: World, payload: str) -> None:
    submitted = await world.submitted(payload)
    claimed = await world.journal.execute(
        submitted.id, Claim(worker="another", terms=AttemptTerms(), lease=60_000), known=submitted
    )
    assert isinstance(claimed, Done)
    error = TaskError(code="TRY_AGAIN", message="")
    again = await world.journal.execute(submitted.id, Retry(attempt=1, error=error, after=0), known=claimed.task)
    assert isinstance(again, Done)
    await world.dispatch(submitted)
    finished = await world.finished(submitted.id)

    assert finished.status is TaskStatus.SUCCESS
    assert world.ran == [(submitted.id, 2, payload)]


@pytest.mark.parametrize("payload", ["small", LARGE], ids=["small", "large"])
async def test_a_message_that_comes_many_times_runs_its_task_once(world: World, payload: str) -> None:
    submitted = await world.submitted(payload)
    for _ in range(20):
        await world.dispatch(submitted)
    finished = await world.finished(submitted.id)
    await world.dispatch(submitted)
    # Whatever was still in hand has been taken by the time that a later task is through.
    last = await world.submitted("last")
    await world.dispatch(last)
    await world.finished(last.id)

    assert finished.status is TaskStatus.SUCCESS
    assert world.ran == [(submitted.id, 1, payload), (last.id, 1, "last")]


async def test_a_message_of_a_task_that_the_record_does_not_have_is_dropped(world: World) -> None:
    sound = await world.submitted("sound")
    unknown = replace(sound, id=str(uuid_utils.uuid7()))
    await world.dispatch(unknown)
    await world.dispatch(sound)
    await world.finished(sound.id)

    assert [task_id for task_id, _, _ in world.ran] == [sound.id]
    assert await world.record.read(unknown.id) is None


async def test_a_message_that_is_none_harms_nobody(world: World) -> None:
    for body in (b"", b"\xff\xff\xff", b"not a task", encode_json("a value", "body")):
        await world.broker.dispatch("default", TaskPriority.NORMAL, body)
    sound = await world.submitted("sound")
    await world.dispatch(sound)
    finished = await world.finished(sound.id)

    assert finished.status is TaskStatus.SUCCESS
    assert len(world.ran) == 1


class CancelledMeanwhile(Journal):
    """Has every task cancelled between its claim and the answer to it, and the worker told at once."""

    executor: Executor

    async def execute(
        self, task_id: str, *commands: Command, known: Task | None = None, want_payload: bool = False
    ) -> Done | Refused:
        answer = await super().execute(task_id, *commands, known=known, want_payload=want_payload)
        if isinstance(commands[0], Claim) and isinstance(answer, Done):
            await super().execute(task_id, Cancel(reason="at once"))
            self.executor.interrupt(task_id, answer.task.attempt, Interruption.ENDED)
        return answer


async def test_a_cancel_that_overtakes_the_answer_to_the_claim_keeps_the_handler_from_starting(
    world: World, redis_url: str, key_prefix: str
) -> None:
    @task("remember")
    async def remember(ctx: TaskContext, payload: Any) -> None:
        world.ran.append((ctx.task_id, ctx.attempt, payload))

    clock = RecordClock(world.record)
    await clock.synchronise()
    journal = CancelledMeanwhile(world.record, clock, world.broker.broadcast)
    leases = LeaseKeeper(
        lambda: RedisRecord(redis_url, prefix=key_prefix), clock, lease=10, on_lost=lambda _id, _attempt: None
    )
    executor = Executor(
        {"remember": remember},
        {Place.LOOP: LoopRunner(max_result_bytes=1_000)},
        journal,
        leases,
        worker="w",
        terms=AttemptTerms(),
        lease=10_000,
    )
    journal.executor = executor
    submitted = await world.submitted("payload")
    await executor.execute(InHand(encode_dispatch(submitted)))

    assert (await world.finished(submitted.id)).status is TaskStatus.CANCELLED
    assert world.ran == []


@dataclass
class InHand:
    """A delivery that is nobody's any more once it is settled."""

    body: bytes
    priority: TaskPriority = TaskPriority.NORMAL

    async def ack(self) -> None:
        """Settled."""

    async def give_back(self) -> None:
        """Settled."""
