"""What `shared.ports.Catalogue` promises of queues and workers, on a plain server and on a Redis Cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.domain.commands import Cancel, Retry, Succeed
from shared.domain.task import TaskError, TaskPriority
from shared.ports import CLOCK_SLACK, QueueCounts, WorkerReport
from tests.contract.changes import CLAIM, RESULT, SPEC, appended, change, new_task_id, submission
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from shared.adapters.redis import RedisRecord
    from shared.domain.commands import Command
    from shared.domain.task import Millis, Task, TaskSpec

pytestmark = pytest.mark.integration

LOW, NORMAL, HIGH = TaskPriority
NONE_WAITING = {LOW: 0, NORMAL: 0, HIGH: 0}
EMPTY = QueueCounts(name="default", waiting=NONE_WAITING, running=0, delayed=0, oldest_waiting=None, ended=0)
SLOW = replace(SPEC, queue="slow")


async def lived(record: RedisRecord, spec: TaskSpec, *commands: Command, now: Millis) -> Task:
    task = await appended(record, submission(new_task_id(), spec=spec, now=now))
    for command in commands:
        task = await appended(record, change(task, command, now=now))
    return task


async def counted(record: RedisRecord) -> dict[str, QueueCounts]:
    """The counts of each queue, without the age of what waits, which changes by itself."""
    queues = await record.catalogue.queues()
    assert [queue.name for queue in queues] == sorted(queue.name for queue in queues)
    return {queue.name: replace(queue, oldest_waiting=None) for queue in queues}


async def test_without_tasks_there_is_no_queue(record: RedisRecord) -> None:
    assert await record.catalogue.queues() == []


async def test_a_task_is_counted_where_it_stands_all_its_life(record: RedisRecord) -> None:
    now = await record.server_time()
    waits, runs = (
        replace(EMPTY, name="slow", waiting={**NONE_WAITING, HIGH: 1}),
        replace(EMPTY, name="slow", running=1),
    )
    task = await lived(record, replace(SLOW, priority=HIGH), now=now)
    assert await counted(record) == {"slow": waits}
    task = await appended(record, change(task, CLAIM, now=now))
    assert await counted(record) == {"slow": runs}
    error = TaskError(code="BROKEN", message="It broke.")
    task = await appended(record, change(task, Retry(attempt=1, error=error, after=60_000), now=now))
    assert await counted(record) == {"slow": replace(EMPTY, name="slow", delayed=1)}
    task = await appended(record, change(task, CLAIM, now=now + 60_000))
    assert await counted(record) == {"slow": runs}
    task = await appended(record, change(task, Succeed(attempt=2, result=RESULT), now=now + 60_000))
    assert await counted(record) == {"slow": replace(EMPTY, name="slow", ended=1)}


async def test_what_a_gateway_submits_whose_clock_is_a_little_ahead_waits_and_is_not_delayed(
    record: RedisRecord,
) -> None:
    await lived(record, SLOW, now=await record.server_time() + CLOCK_SLACK // 2)
    assert await counted(record) == {"slow": replace(EMPTY, name="slow", waiting={**NONE_WAITING, NORMAL: 1})}


async def test_every_queue_and_priority_is_counted_over_all_partitions(record: RedisRecord) -> None:
    now = await record.server_time()
    for spec in (SPEC, SLOW):
        for priority in TaskPriority:
            for _ in range(10 * priority):
                await lived(record, replace(spec, priority=priority), now=now)
            await lived(record, replace(spec, priority=priority), CLAIM, now=now)
            await lived(record, replace(spec, priority=priority, schedule_time=now + 60_000), now=now)
            await lived(record, replace(spec, priority=priority), Cancel(), now=now)
    counts = replace(EMPTY, waiting={LOW: 10, NORMAL: 20, HIGH: 30}, running=3, delayed=3, ended=3)
    assert await counted(record) == {"default": counts, "slow": replace(counts, name="slow")}


async def test_the_oldest_of_what_waits_is_told_by_how_long_it_could_have_run(record: RedisRecord) -> None:
    now = await record.server_time()

    async def age() -> Millis:
        (queue,) = await record.catalogue.queues()
        assert queue.oldest_waiting is not None
        return queue.oldest_waiting

    await lived(record, replace(SPEC, schedule_time=now - 3_000), now=now - 20_000)
    assert 3_000 <= await age() < 8_000
    oldest = await lived(record, replace(SPEC, priority=LOW), now=now - 20_000)
    await lived(record, SPEC, now=now)
    assert 20_000 <= await age() < 25_000
    await appended(record, change(oldest, CLAIM, now=now))
    assert 3_000 <= await age() < 8_000


async def test_what_ended_more_than_a_minute_ago_is_counted_no_more(record: RedisRecord) -> None:
    now = await record.server_time()
    await lived(record, SPEC, Cancel(), now=now - 61_000)
    assert await counted(record) == {}
    for age in (58_000, 30_000, 0):
        await lived(record, SPEC, Cancel(), now=now - age)
    assert await counted(record) == {"default": replace(EMPTY, ended=3)}


async def test_what_ended_is_counted_though_it_is_kept_no_longer(record: RedisRecord) -> None:
    now = await record.server_time()
    task = await lived(record, replace(SPEC, retention=0), Cancel(), now=now - 20_000)
    assert await record.forget([task.id[-2:]], until=now, limit=10) == 1
    assert await counted(record) == {"default": replace(EMPTY, ended=1)}


# --- workers --------------------------------------------------------------------------------------------------------

WORKER = WorkerReport(
    name="host/12/ab",
    types=("mail", "report.render"),
    queues=("default", "slow"),
    slots=8,
    running=3,
    version="1.2.0",
    start_time=1_700_000_000_000,
    heartbeat_time=1_700_000_060_000,
)


async def test_a_worker_is_told_of_as_it_last_reported(record: RedisRecord) -> None:
    other = replace(WORKER, name="ä worker: of/another kind", types=(), queues=())
    assert await record.catalogue.workers() == []
    await record.catalogue.report(WORKER, ttl=60_000)
    await record.catalogue.report(other, ttl=60_000)
    assert await record.catalogue.workers() == [WORKER, other]
    await record.catalogue.report(replace(WORKER, running=4), ttl=60_000)
    assert await record.catalogue.workers() == [replace(WORKER, running=4), other]


async def test_a_worker_that_withdraws_is_gone_at_once(record: RedisRecord) -> None:
    await record.catalogue.report(WORKER, ttl=60_000)
    await record.catalogue.withdraw(WORKER.name)
    assert await record.catalogue.workers() == []
    await record.catalogue.withdraw("nobody")


async def test_a_worker_that_falls_silent_is_gone_after_a_while(record: RedisRecord) -> None:
    await record.catalogue.report(WORKER, ttl=50)

    async def gone() -> bool:
        return await record.catalogue.workers() == []

    await eventually_async(gone, within=5, what="the silent worker to be forgotten")
