"""What `shared.ports.Record` promises of long logs, on a plain server and on a Redis Cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.adapters.redis import RedisRecord
from shared.domain.commands import HandBack, Succeed
from shared.domain.task import EventType
from shared.ports import Conflict
from tests.contract.changes import CLAIM, RESULT, appended, change, new_task_id, progress, shown, submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from redis.asyncio import Redis

    from shared.adapters.redis.store import Run
    from shared.domain.task import Task

pytestmark = pytest.mark.integration

LIMIT = 20
PROGRESSED = EventType.PROGRESSED


@pytest.fixture
async def record(store_url: str, key_prefix: str) -> AsyncIterator[RedisRecord]:
    """A record that takes twenty events for a long log."""
    record = RedisRecord(store_url, prefix=key_prefix, log_limit=LIMIT)
    yield record
    await record.close()


async def reported(record: RedisRecord, task: Task, times: int, *, attempt: int = 1) -> Task:
    """The task after some reports of progress, one append for each."""
    for _ in range(times):
        task = await appended(record, change(task, progress(task.sequence % 100, attempt=attempt)))
    return task


async def running(record: RedisRecord) -> Task:
    return await appended(record, change(await appended(record, submission(new_task_id())), CLAIM))


async def sequences(record: RedisRecord, task: Task, *, after: int = 0) -> list[int]:
    """Of all events after one, read page by page."""
    found: list[int] = []
    while page := await record.read_events(task.id, after=found[-1] if found else after, limit=7):
        assert len(page) <= 7
        assert {event.task_id for event in page} == {task.id}
        found += [event.sequence for event in page]
    return found


async def test_a_log_within_the_limit_is_whole(record: RedisRecord) -> None:
    task = await reported(record, await running(record), LIMIT - 2)
    assert await record.first_kept(task.id) == 1
    assert await sequences(record, task) == list(range(1, LIMIT + 1))


async def test_above_the_limit_the_older_half_loses_its_progress_and_nothing_else(record: RedisRecord) -> None:
    task = await reported(record, await running(record), LIMIT - 1)
    assert task.sequence == LIMIT + 1
    assert await record.first_kept(task.id) == 12
    assert await sequences(record, task) == [1, 2, *range(12, 22)]
    assert await record.read(task.id) == shown(task)
    assert await record.read_sequence(task.id) == 21


async def test_a_log_without_end_stays_bounded_and_keeps_every_event_that_is_no_progress(
    record: RedisRecord, server: Redis, key_prefix: str
) -> None:
    task = await running(record)
    kept: list[int] = [1, 2]
    for attempt in range(1, 8):
        task = await reported(record, task, 33, attempt=attempt)
        task = await appended(record, change(task, HandBack(attempt=attempt)))
        task = await appended(record, change(task, CLAIM))
        kept += [task.sequence - 1, task.sequence]
        length = await server.llen(f"{key_prefix}:{{{task.id[-2:]}}}:events:{task.id}")
        assert length <= LIMIT + len(kept)
    first = await record.first_kept(task.id)
    assert task.sequence - LIMIT < first <= task.sequence - LIMIT // 2 + 1
    assert await sequences(record, task) == sorted({*kept, *range(first, task.sequence + 1)})
    events = await record.read_events(task.id, after=0, limit=1_000)
    assert [event.sequence for event in events if event.type is not PROGRESSED] == kept
    task = await appended(record, change(task, Succeed(attempt=8, result=RESULT)))
    assert (await record.read_events(task.id, after=task.sequence - 1, limit=10))[0].type is EventType.SUCCEEDED


@pytest.mark.parametrize("after", [0, 1, 2, 10, 11, 12, 20, 21, 22, 99])
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_events_after_a_sequence_come_from_before_the_hole_and_from_behind_it(
    record: RedisRecord, after: int, limit: int
) -> None:
    task = await reported(record, await running(record), LIMIT - 1)
    events = await record.read_events(task.id, after=after, limit=limit)
    assert [event.sequence for event in events] == [n for n in (1, 2, *range(12, 22)) if n > after][:limit]


async def test_several_events_of_one_append_are_thinned_like_any(record: RedisRecord) -> None:
    task = await running(record)
    for _ in range(6):
        task = await appended(record, change(task, progress(1), progress(2), progress(3), progress(4)))
    assert await record.first_kept(task.id) == 13
    assert await sequences(record, task) == [1, 2, *range(13, 27)]


class RepeatingRecord(RedisRecord):
    """Every append reaches the server twice, and the second answer counts."""

    async def _evaluate(self, appends: Sequence[Run]) -> list[Any]:
        await super()._evaluate(appends)
        return await super()._evaluate(appends)


async def test_an_append_that_is_sent_twice_takes_effect_once_though_it_thins_the_log(
    store_url: str, key_prefix: str
) -> None:
    repeating = RepeatingRecord(store_url, prefix=key_prefix, log_limit=LIMIT)
    try:
        task = await reported(repeating, await running(repeating), 3 * LIMIT)
        first = await repeating.first_kept(task.id)
        assert await sequences(repeating, task) == [1, 2, *range(first, task.sequence + 1)]
    finally:
        await repeating.close()


async def test_a_refused_append_thins_nothing(record: RedisRecord) -> None:
    task = await reported(record, await running(record), LIMIT - 2)
    late = change(await reported(record, task, 0), progress(1), progress(2))
    task = await reported(record, task, 1)
    before = await sequences(record, task)
    assert isinstance(await record.append(late), Conflict)
    assert await sequences(record, task) == before


async def test_of_a_task_that_is_not_there_the_log_counts_as_whole(record: RedisRecord) -> None:
    assert await record.first_kept(new_task_id()) == 1
