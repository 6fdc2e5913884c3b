"""A run's words to the record: a real one, so that what counts is what was written."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.domain.commands import Cancel, Claim, HandBack, Submit, Succeed
from shared.domain.decide import RefusalReason
from shared.domain.task import AttemptTerms, EventType, TaskSpec, TaskStatus
from shared.journal import Done, Journal, Refused
from shared.json_values import encode_json
from tests.deadlines import eventually_async
from tests.unit.domain.lives import LEASE, RESULT, TASK_ID
from worker_service.context import Interruption
from worker_service.outcome import TaskCancelled
from worker_service.run import PROGRESS_SECONDS, Run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.domain.task import TaskEvent
    from shared.ports import Appended, Change, Conflict
    from tests.servers import ValkeyFactory

pytestmark = pytest.mark.integration

SUCCEED = Succeed(attempt=1, result=RESULT)


class ObservedRecord(RedisRecord):
    """The record; it remembers which events came together in one append."""

    def __init__(self, url: str, *, prefix: str = "taskcast", deadline: float = 3.0) -> None:
        super().__init__(url, prefix=prefix, deadline=deadline)
        self.appends: list[list[EventType]] = []

    async def append(self, change: Change) -> Appended | Conflict:
        answer = await super().append(change)
        self.appends.append([event.type for event in change.events])
        return answer


class Claimed:
    """A task that was claimed, and the run of its first attempt."""

    def __init__(self, record: ObservedRecord) -> None:
        self.record = record
        self.clock = RecordClock(record)
        self.journal = Journal(record, self.clock, lambda _key, _body: None)

    async def begin(self) -> Claimed:
        await self.clock.synchronise()
        spec = TaskSpec(type="report.render", payload=encode_json(None, "payload"))
        await self.journal.create(TASK_ID, Submit(task_id=TASK_ID, tenant="acme", spec=spec))
        done = await self.journal.execute(TASK_ID, Claim(worker="w", terms=AttemptTerms(), lease=LEASE))
        assert isinstance(done, Done)
        self.run = Run(done.task, self.journal, lease=LEASE)
        self.record.appends.clear()
        return self

    async def log(self) -> list[TaskEvent]:
        return await self.record.read_events(TASK_ID, after=2, limit=1_000)

    async def percents(self) -> list[float]:
        return [event.progress.percent for event in await self.log() if event.progress is not None]

    async def logged(self, count: int) -> list[TaskEvent]:
        async def enough() -> list[TaskEvent]:
            events = await self.log()
            return events if len(events) >= count else []

        return await eventually_async(enough, within=5, what=f"{count} events after the claim")


@pytest.fixture
async def claimed(redis_url: str, key_prefix: str) -> AsyncIterator[Claimed]:
    record = ObservedRecord(redis_url, prefix=key_prefix)
    yield await Claimed(record).begin()
    await record.close()


async def test_the_first_progress_is_sent_at_once_and_of_a_burst_only_the_latest_follows(claimed: Claimed) -> None:
    for percent in range(1, 51):
        await claimed.run.context.progress(percent=percent)
    first, second = await claimed.logged(2)
    assert first.progress is not None
    assert second.progress is not None
    assert (first.progress.percent, second.progress.percent) == (1.0, 50.0)
    assert second.time - first.time >= PROGRESS_SECONDS * 1_000 - 5
    await claimed.run.finish(SUCCEED)
    assert await claimed.percents() == [1.0, 50.0]


async def test_under_steady_progress_one_event_follows_every_50_ms_with_the_latest(claimed: Claimed) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    said: dict[float, float] = {}
    for percent in itertools.count(1):
        said[float(percent) / 10] = loop.time() - began
        await claimed.run.context.progress(percent=percent / 10)
        await asyncio.sleep(0.002)
        if loop.time() - began > 0.5 or percent == 1_000:
            break
    await claimed.run.finish(SUCCEED)
    events = [event for event in await claimed.log() if event.progress is not None]
    gaps = [later.time - earlier.time for earlier, later in itertools.pairwise(events)][:-1]
    assert min(gaps) >= PROGRESS_SECONDS * 1_000 - 5
    assert 3 <= len(events) <= 12
    percents = [event.progress.percent for event in events if event.progress is not None]
    assert percents == sorted(percents)
    assert percents[0] == 0.1
    assert percents[-1] == max(said), "the last one is never lost"
    for event, sent in zip(events[1:-1], percents[1:-1], strict=True):
        # What is sent is what was said last, not what waited longest.
        assert event.time - events[0].time - said[sent] * 1_000 < PROGRESS_SECONDS * 1_000


async def test_the_last_progress_and_the_outcome_are_one_append(claimed: Claimed) -> None:
    claimed.run.context.progress(percent=1)
    await claimed.logged(1)
    claimed.run.context.progress(percent=99)
    done = await claimed.run.finish(SUCCEED)
    assert isinstance(done, Done)
    assert claimed.record.appends == [[EventType.PROGRESSED], [EventType.PROGRESSED, EventType.SUCCEEDED]]
    assert await claimed.percents() == [1.0, 99.0]


async def test_an_outcome_right_after_the_first_progress_takes_it_along_or_waits_for_it(claimed: Claimed) -> None:
    claimed.run.context.progress(percent=42)
    await claimed.run.finish(SUCCEED)
    assert [event.type for event in await claimed.log()] == [EventType.PROGRESSED, EventType.SUCCEEDED]
    assert await claimed.percents() == [42.0]


async def test_the_outcome_does_not_wait_for_the_pause_between_two_reports(
    claimed: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_service.run.PROGRESS_SECONDS", 60.0)
    claimed.run.context.progress(percent=1)
    await claimed.logged(1)
    claimed.run.context.progress(percent=2)
    async with asyncio.timeout(5):
        await claimed.run.finish(SUCCEED)
    assert await claimed.percents() == [1.0, 2.0]


async def test_without_progress_the_outcome_stands_alone(claimed: Claimed) -> None:
    await claimed.run.finish(SUCCEED)
    assert claimed.record.appends == [[EventType.SUCCEEDED]]


async def test_progress_from_a_thread_is_sent_like_any_other(claimed: Claimed) -> None:
    def handler() -> None:
        for percent in range(1, 101):
            claimed.run.context.progress(percent=percent)

    await asyncio.to_thread(handler)
    await claimed.run.finish(SUCCEED)
    percents = await claimed.percents()
    assert percents[-1] == 100.0
    assert len(percents) <= 4


# --- Interruptions ---------------------------------------------------------------------------------------------------


async def test_a_task_that_was_cancelled_meanwhile_stops_its_handler_at_the_next_progress(claimed: Claimed) -> None:
    async def handler() -> None:
        while True:
            await claimed.run.context.progress(percent=1)
            await asyncio.sleep(0.001)

    job = asyncio.create_task(handler())
    claimed.run.runs_in(job)
    await claimed.journal.execute(TASK_ID, Cancel())
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await job
    assert claimed.run.context.interruption is Interruption.ENDED


async def test_a_thread_of_a_cancelled_task_is_told_by_its_progress(claimed: Claimed) -> None:
    def handler() -> None:
        for percent in itertools.cycle(range(100)):
            claimed.run.context.progress(percent=percent)

    await claimed.journal.execute(TASK_ID, Cancel())
    async with asyncio.timeout(5):
        with pytest.raises(TaskCancelled):
            await asyncio.to_thread(handler)


async def test_only_the_first_reason_to_stop_counts(claimed: Claimed) -> None:
    job = asyncio.create_task(asyncio.Event().wait())
    claimed.run.runs_in(job)
    claimed.run.interrupt(Interruption.SHUTDOWN)
    claimed.run.interrupt(Interruption.ENDED)
    assert claimed.run.context.interruption is Interruption.SHUTDOWN
    with pytest.raises(asyncio.CancelledError):
        await job
    assert job.cancelling() == 1


async def test_a_handler_may_clean_up_while_it_is_interrupted_twice(claimed: Claimed) -> None:
    cleaned = False

    async def handler() -> object:
        nonlocal cleaned
        try:
            return await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned = True

    job = asyncio.create_task(handler())
    claimed.run.runs_in(job)
    await asyncio.sleep(0)
    claimed.run.interrupt(Interruption.ENDED)
    claimed.run.interrupt(Interruption.ENDED)
    await asyncio.wait([job])
    assert cleaned


async def test_the_outcome_of_a_superseded_attempt_is_refused_and_so_is_its_last_progress(claimed: Claimed) -> None:
    await claimed.journal.execute(TASK_ID, HandBack(attempt=1))
    await claimed.journal.execute(TASK_ID, Claim(worker="other", terms=AttemptTerms(), lease=LEASE))
    claimed.run.context.progress(percent=99)
    refused = await claimed.run.finish(SUCCEED)
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.SUPERSEDED
    task = await claimed.record.read(TASK_ID)
    assert task is not None
    assert (task.status, task.attempt, task.progress) == (TaskStatus.PROCESSING, 2, None)


# --- A record that is away -------------------------------------------------------------------------------------------


async def test_an_outcome_waits_for_the_record_as_long_as_it_is_away(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    record = ObservedRecord(server.url, deadline=0.2)
    claimed = await Claimed(record).begin()
    try:
        server.pause()
        claimed.run.context.progress(percent=50)
        finishing = asyncio.create_task(claimed.run.finish(SUCCEED))
        # Progress is lost with its deadline, then the outcome fails at least once.
        done, _ = await asyncio.wait([finishing], timeout=0.7)
        assert not done
        server.resume()
        async with asyncio.timeout(10):
            await finishing
        task = await record.read(TASK_ID)
        assert task is not None
        assert (task.status, task.result) == (TaskStatus.SUCCESS, RESULT)
        ends = [event for event in await claimed.log() if event.status.is_terminal]
        assert len(ends) == 1
    finally:
        server.resume()
        await record.close()
