"""What `shared.ports.Record` promises of wakes, expiry and groups, on a plain server and on a Redis Cluster."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.domain.commands import (
    Cancel,
    ConfirmDispatch,
    RenewLease,
    Succeed,
    Wake,
)
from shared.domain.decide import next_wake
from shared.domain.task import RetryPolicy, TaskStatus, Timers
from shared.ports import Conflict
from tests.contract.changes import (
    CLAIM,
    LEASE,
    NOW,
    RESULT,
    SPEC,
    appended,
    change,
    claimed,
    new_task_id,
    shown,
    submission,
)
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.adapters.redis import RedisRecord

pytestmark = pytest.mark.integration

SUCCEED = Succeed(attempt=1, result=RESULT)


# --- wakes ----------------------------------------------------------------------------------------------------------


async def test_a_wake_is_set_moved_and_cleared_with_the_change(record: RedisRecord) -> None:
    partition = "a7"

    async def wakes() -> list[tuple[str, int]]:
        return await record.due([partition], until=2 * NOW, limit=10)

    task = await appended(record, submission(new_task_id(partition)))
    assert await wakes() == [(task.id, next_wake(task))]
    task = await appended(record, change(task, ConfirmDispatch()))
    assert await wakes() == [(task.id, next_wake(task))]
    task = await appended(record, change(task, CLAIM))
    assert await wakes() == [(task.id, NOW + LEASE)]
    task = await appended(record, change(task, RenewLease(attempt=1, lease=LEASE), now=NOW + 3_000))
    assert await wakes() == [(task.id, NOW + 3_000 + LEASE)]
    await appended(record, change(task, SUCCEED, now=NOW + 4_000))
    assert await wakes() == []


async def test_a_refused_change_leaves_the_wake_alone(record: RedisRecord) -> None:
    task = await claimed(record)
    old = submission(task.id).task
    assert isinstance(await record.append(change(old, Cancel())), Conflict)
    assert await record.due([task.id[-2:]], until=2 * NOW, limit=10) == [(task.id, NOW + LEASE)]


async def test_tasks_are_given_other_timers_unless_something_has_happened_to_them(record: RedisRecord) -> None:
    partition = "a8"
    waiting = await appended(record, submission(new_task_id(partition)))
    claimed_since = await appended(record, submission(new_task_id(partition)))
    running = await appended(record, change(claimed_since, CLAIM))
    absent = replace(waiting, id=new_task_id(partition))
    timers = Timers(dispatch_at=NOW + 77_000, dispatches=3)

    await record.retime([(waiting, timers), (claimed_since, timers), (absent, timers)])
    await record.retime([])

    wakes = await record.due([partition], until=2 * NOW, limit=10)
    assert sorted(wakes) == sorted([(waiting.id, NOW + 77_000), (running.id, NOW + LEASE)])
    read = await record.read(waiting.id)
    assert read == waiting
    assert read is not None
    assert read.timers == timers
    now = await record.read(running.id)
    assert now is not None
    assert now.timers == running.timers
    assert await record.read(absent.id) is None


async def test_what_is_due_comes_earliest_first_up_to_the_limit_of_each_partition(record: RedisRecord) -> None:
    delays = [5_000, 1_000, 4_000, 2_000, 3_000]
    for partition in ("00", "ff"):
        for delay in delays:
            spec = replace(SPEC, schedule_time=NOW + delay)
            await appended(record, submission(new_task_id(partition), spec=spec))
    due = await record.due(["00", "01", "ff"], until=NOW + 4_000, limit=3)
    assert [(task_id[-2:], time - NOW) for task_id, time in due] == [
        ("00", 1_000),
        ("00", 2_000),
        ("00", 3_000),
        ("ff", 1_000),
        ("ff", 2_000),
        ("ff", 3_000),
    ]
    assert len(await record.due(["00"], until=NOW + 4_000, limit=10)) == 4, "due at `until` is due"
    assert len(await record.due(["00"], until=NOW + 3_999, limit=10)) == 3
    assert await record.due(["00"], until=NOW, limit=10) == []
    assert await record.due([], until=NOW, limit=10) == []


async def test_every_partition_can_be_asked_at_once(record: RedisRecord) -> None:
    partitions = [f"{number:02x}" for number in range(256)]
    tasks = await asyncio.gather(*(appended(record, submission(new_task_id(each))) for each in partitions))
    due = await record.due(partitions, until=2 * NOW, limit=1)
    assert [task_id for task_id, _ in due] == [task.id for task in tasks]


async def test_all_of_a_partition_s_tasks_that_are_not_terminal_are_told_in_order(record: RedisRecord) -> None:
    running = await appended(record, change(await appended(record, submission(new_task_id("42"))), CLAIM))
    tasks = [
        await appended(record, submission(new_task_id("42"), spec=replace(SPEC, schedule_time=NOW + delay)))
        for delay in (3_000, 1_000, 2_000)
    ]
    await appended(record, submission(new_task_id("43")))
    assert await record.unfinished("42") == [tasks[1].id, tasks[2].id, tasks[0].id, running.id]
    await appended(record, change(tasks[1], Cancel()))
    assert await record.unfinished("42") == [tasks[2].id, tasks[0].id, running.id]
    assert await record.unfinished("44") == []


async def test_a_wake_far_in_the_future_is_kept_to_the_millisecond(record: RedisRecord) -> None:
    far = NOW + 10 * 365 * 86_400_000 + 1
    task = await appended(record, submission(spec=replace(SPEC, schedule_time=far)))
    assert await record.due([task.id[-2:]], until=far - 1, limit=10) == []
    assert await record.due([task.id[-2:]], until=far, limit=10) == [(task.id, far)]


# --- expiry ---------------------------------------------------------------------------------------------------------


async def lasting(server: Redis, key_prefix: str) -> list[str]:
    """All keys that will not go by themselves within a day."""
    keys = sorted(key.decode() if isinstance(key, bytes) else key for key in await server.keys(f"{key_prefix}:*"))
    return [key for key in keys if not 0 <= await server.pttl(key) <= 86_400_000]


async def test_a_task_that_was_kept_long_enough_is_forgotten_with_every_trace(
    record: RedisRecord, server: Redis, key_prefix: str
) -> None:
    spec = replace(SPEC, retention=60_000, retry_policy=RetryPolicy(max_attempts=1))
    task = await appended(record, submission(new_task_id("42"), spec=spec))
    task = await appended(record, change(task, CLAIM))
    assert await record.forget(["42"], until=2 * NOW, limit=10) == 0, "what is not terminal is kept"
    ended = await appended(record, change(task, Wake(), now=NOW + LEASE))
    assert ended.status is TaskStatus.ERROR
    until = NOW + LEASE + 60_000
    assert await record.forget(["42"], until=until - 1, limit=10) == 0
    assert await record.read(task.id) == shown(ended)
    assert await record.forget(["41", "42"], until=until, limit=10) == 1
    assert await record.read(task.id) is None
    assert await lasting(server, key_prefix) == []
    assert await record.forget(["42"], until=until, limit=10) == 0


async def test_what_another_task_has_left_stays_when_one_is_forgotten(
    record: RedisRecord, server: Redis, key_prefix: str
) -> None:
    spec = replace(SPEC, retention=60_000)
    going, staying = [await appended(record, submission(new_task_id("42"), spec=spec)) for _ in range(2)]
    before = await lasting(server, key_prefix)
    await appended(record, change(going, Cancel()))
    assert await record.forget(["42"], until=NOW + 60_000, limit=10) == 1
    assert await lasting(server, key_prefix) == [key for key in before if going.id not in key]
    assert await record.unfinished("42") == [staying.id]
    assert await record.due(["42"], until=2 * NOW, limit=10) == [(staying.id, next_wake(staying))]


async def test_of_a_forgotten_task_only_its_tenant_learns_that_it_was_there(
    record: RedisRecord, server: Redis, key_prefix: str
) -> None:
    spec = replace(SPEC, retention=60_000)
    gone, kept = [await appended(record, submission(new_task_id("42"), spec=spec)) for _ in range(2)]
    await appended(record, change(gone, Cancel()))
    assert not await record.has_expired("acme", gone.id)
    await record.forget(["42"], until=2 * NOW, limit=10)
    assert await record.has_expired("acme", gone.id)
    assert not await record.has_expired("other", gone.id)
    assert not await record.has_expired("acme", kept.id)
    assert 86_000_000 < await server.pttl(f"{key_prefix}:{{42}}:forgotten") <= 86_400_000


async def test_of_the_forgotten_so_many_are_remembered_and_no_more(
    record: RedisRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.adapters.redis.record.FORGOTTEN_LIMIT", 3)
    tasks = [
        await appended(record, submission(new_task_id("42"), spec=replace(SPEC, retention=60_000 + n)))
        for n in range(5)
    ]
    for task in tasks:
        await appended(record, change(task, Cancel()))
        await record.forget(["42"], until=2 * NOW, limit=10)
    assert [await record.has_expired("acme", task.id) for task in tasks] == [False, False, True, True, True]


async def test_no_more_are_forgotten_at_once_than_asked_for_and_the_oldest_first(record: RedisRecord) -> None:
    tasks = [
        await appended(record, submission(new_task_id("42"), spec=replace(SPEC, retention=retention)))
        for retention in (60_000, 30_000, 90_000)
    ]
    for task in tasks:
        await appended(record, change(task, Cancel()))
    assert await record.forget(["42"], until=2 * NOW, limit=2) == 2
    assert [await record.read_sequence(task.id) for task in tasks] == [0, 0, 2]


async def test_an_id_that_is_used_again_is_not_taken_for_the_task_that_had_it(record: RedisRecord) -> None:
    first = await appended(record, submission(spec=replace(SPEC, retention=60_000)))
    await appended(record, change(first, Cancel()))
    assert await record.forget([first.id[-2:]], until=2 * NOW, limit=10) == 1
    again = await appended(record, submission(first.id, now=NOW + 100_000))
    ended = await appended(record, change(again, Cancel(), now=NOW + 100_000))
    assert await record.forget([first.id[-2:]], until=NOW + 100_000, limit=10) == 0
    assert await record.read(first.id) == ended


async def test_a_task_that_is_kept_no_longer_can_be_read_to_its_end(record: RedisRecord) -> None:
    task = await appended(record, submission(spec=replace(SPEC, retention=0)))
    task = await appended(record, change(task, Cancel()))
    assert await record.read(task.id) == task
    assert len(await record.read_events(task.id, after=0, limit=10)) == 2


# --- groups ---------------------------------------------------------------------------------------------------------


async def test_members_know_of_each_other_until_they_leave_or_die(record: RedisRecord) -> None:
    assert await record.enrol("sweepers", "b", ttl=60_000) == ["b"]
    assert await record.enrol("sweepers", "a", ttl=60_000) == ["a", "b"]
    assert await record.enrol("others", "c", ttl=60_000) == ["c"]
    assert await record.enrol("sweepers", "dying", ttl=1) == ["a", "b", "dying"]

    async def without_the_dead() -> bool:
        return await record.enrol("sweepers", "a", ttl=60_000) == ["a", "b"]

    await eventually_async(without_the_dead, within=5, what="the dead member to be gone")
    await record.leave("sweepers", "b")
    assert await record.enrol("sweepers", "a", ttl=60_000) == ["a"]
    await record.leave("sweepers", "nobody")


async def test_enrolling_again_is_staying_alive(record: RedisRecord) -> None:
    await record.enrol("sweepers", "a", ttl=1)
    await record.enrol("sweepers", "a", ttl=60_000)
    before = await record.server_time()

    async def later() -> bool:
        return await record.server_time() > before + 20

    await eventually_async(later, within=5, what="20 ms of the record's time")
    assert await record.enrol("sweepers", "b", ttl=60_000) == ["a", "b"]


async def test_the_record_s_time_is_the_server_s(record: RedisRecord, server: Redis) -> None:
    seconds, micros = await server.time()
    told = await record.server_time()
    assert 0 <= told - (seconds * 1_000 + micros // 1_000) < 5_000
