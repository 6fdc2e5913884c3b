"""What `shared.ports.Record` promises of a task's changes, on a plain server and on a Redis Cluster."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.adapters.redis import RedisRecord
from shared.domain.commands import (
    Cancel,
    ConfirmDispatch,
    HandBack,
    RenewLease,
    Succeed,
)
from shared.domain.task import EventType
from shared.json_values import encode_json
from shared.ports import Appended, Conflict
from tests.contract.changes import (
    CLAIM,
    LEASE,
    NOW,
    PAYLOAD,
    RESULT,
    SPEC,
    appended,
    change,
    claimed,
    new_task_id,
    progress,
    shown,
    submission,
    without_values,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from redis.asyncio import Redis

    from shared.adapters.redis.store import Run

pytestmark = pytest.mark.integration

SUCCEED = Succeed(attempt=1, result=RESULT)


# --- append: create, change, refuse ---------------------------------------------------------------------------------


async def test_a_task_is_created_once_and_read_back_whole(record: RedisRecord) -> None:
    task = await appended(record, submission())
    read = await record.read(task.id)
    assert read == task
    assert read is not None
    assert read.timers == task.timers
    assert await record.read_sequence(task.id) == 1
    assert [event.type for event in await record.read_events(task.id, after=0, limit=10)] == [EventType.SUBMITTED]


async def test_a_second_creation_is_a_conflict_that_tells_the_first_one_s_fingerprint(record: RedisRecord) -> None:
    task = await appended(record, submission(fingerprint=b"one"))
    again = submission(task.id, spec=replace(SPEC, type="other"), fingerprint=b"two")
    assert await record.append(again) == Conflict(without_values(task), b"one")
    assert await record.read(task.id) == task
    assert await record.read_sequence(task.id) == 1


@pytest.mark.parametrize("fingerprint", [b"", b"\x00\xff binary \r\n", bytes(range(256))])
async def test_a_fingerprint_is_any_bytes(record: RedisRecord, fingerprint: bytes) -> None:
    task = await appended(record, submission(fingerprint=fingerprint))
    conflict = await record.append(submission(task.id, fingerprint=b"other"))
    assert isinstance(conflict, Conflict)
    assert conflict.fingerprint == fingerprint


async def test_a_change_at_the_expected_sequence_becomes_the_state(record: RedisRecord) -> None:
    task = await claimed(record)
    assert await record.read(task.id) == shown(task)
    task = await appended(record, change(task, progress(50), SUCCEED, now=NOW + 5))
    assert await record.read(task.id) == shown(task)
    assert await record.read_sequence(task.id) == 4


async def test_a_change_at_another_sequence_writes_nothing_and_tells_the_task_as_it_is(record: RedisRecord) -> None:
    old = await appended(record, submission())
    now = await appended(record, change(old, CLAIM))
    before = await record.read(old.id)
    for late in (change(old, Cancel()), change(old, CLAIM), change(old, ConfirmDispatch())):
        conflict = await record.append(late)
        assert conflict == Conflict(without_values(shown(now)))
        assert isinstance(conflict, Conflict)
        assert conflict.task is not None
        assert conflict.task.timers == now.timers
    assert await record.read(old.id) == before
    assert await record.read_sequence(old.id) == 2
    assert len(await record.read_events(old.id, after=0, limit=10)) == 2


async def test_a_change_of_a_task_that_is_not_there_is_a_conflict_with_nothing(record: RedisRecord) -> None:
    task = submission().task
    assert await record.append(change(task, Cancel())) == Conflict(None)
    assert await record.append(change(task, ConfirmDispatch())) == Conflict(None)
    assert await record.read(task.id) is None
    assert await record.due([task.id[-2:]], until=2 * NOW, limit=10) == []


async def test_of_many_writers_at_one_sequence_exactly_one_gets_through(record: RedisRecord) -> None:
    task = await claimed(record)
    rivals = [change(task, progress(percent)) for percent in range(40)]
    answers = await asyncio.gather(*(record.append(rival) for rival in rivals))
    assert sum(isinstance(answer, Appended) for answer in answers) == 1
    winner = rivals[[isinstance(answer, Appended) for answer in answers].index(True)]
    assert await record.read(task.id) == shown(winner.task)
    assert len(await record.read_events(task.id, after=0, limit=100)) == 3


async def test_of_two_writers_with_the_very_same_change_one_loses(record: RedisRecord) -> None:
    # Byte for byte alike, and yet not one append sent twice: the second writer must decide again.
    task = await claimed(record)
    same = change(task, progress(50))
    answers = await asyncio.gather(record.append(same), record.append(same))
    assert sorted(type(answer).__name__ for answer in answers) == ["Appended", "Conflict"]


async def test_several_events_of_one_append_follow_each_other(record: RedisRecord) -> None:
    task = await appended(record, submission())
    task = await appended(record, change(task, CLAIM, progress(1), progress(2), progress(3), SUCCEED))
    events = await record.read_events(task.id, after=0, limit=100)
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    assert await record.read_sequence(task.id) == 6


async def test_without_events_only_the_timers_change(record: RedisRecord) -> None:
    task = await claimed(record)
    renewed = await appended(record, change(task, RenewLease(attempt=1, lease=LEASE), now=NOW + 5_000))
    read = await record.read(task.id)
    assert read == shown(task)
    assert read is not None
    assert read.timers == renewed.timers
    assert await record.read_sequence(task.id) == 2


async def test_text_and_values_of_every_kind_come_back(record: RedisRecord) -> None:
    spec = replace(SPEC, payload=encode_json({"ä": ["\x00", "😀", None, 1.5]}, "p"), labels={"k": "\r\n ü"})
    task = await appended(record, submission(spec=spec))
    task = await appended(record, change(task, Cancel(reason="ü \x00 😀")))
    assert await record.read(task.id) == task


# --- append_all: many at once ---------------------------------------------------------------------------------------


async def test_many_changes_are_made_in_one_call_each_by_itself_and_in_order(record: RedisRecord) -> None:
    running = await claimed(record)
    twice = new_task_id()
    first, second = submission(twice, fingerprint=b"first"), submission(twice, fingerprint=b"second")
    fresh = [submission() for _ in range(300)]
    answers = await record.append_all([first, change(running, SUCCEED), second, change(running, progress(1)), *fresh])

    assert answers[:2] == [Appended(), Appended()]
    assert answers[2] == Conflict(without_values(first.task), b"first")
    assert isinstance(answers[3], Conflict)
    assert answers[4:] == [Appended()] * 300
    assert [task and task.id for task in await record.read_many([c.task.id for c in fresh])] == [
        c.task.id for c in fresh
    ]
    assert await record.append_all([]) == []


# --- append: safe to repeat -----------------------------------------------------------------------------------------


class RepeatingRecord(RedisRecord):
    """Every append reaches the server twice, as when the first reply is lost, and the second answer counts."""

    async def _evaluate(self, appends: Sequence[Run]) -> list[Any]:
        self.sent = appends
        await super()._evaluate(appends)
        return await super()._evaluate(appends)

    async def send_again(self) -> Any:
        (reply,) = await super()._evaluate(self.sent)
        return reply


@pytest.fixture
async def repeating(store_url: str, key_prefix: str) -> AsyncIterator[RepeatingRecord]:
    record = RepeatingRecord(store_url, prefix=key_prefix)
    yield record
    await record.close()


async def test_an_append_that_is_sent_twice_takes_effect_once(repeating: RepeatingRecord) -> None:
    task = await appended(repeating, submission())
    for commands in ([CLAIM], [RenewLease(attempt=1, lease=LEASE)], [progress(1), progress(2)], [SUCCEED]):
        task = await appended(repeating, change(task, *commands))
    assert await repeating.read(task.id) == shown(task)
    types = [event.type for event in await repeating.read_events(task.id, after=0, limit=100)]
    assert types == [
        EventType.SUBMITTED,
        EventType.STARTED,
        EventType.PROGRESSED,
        EventType.PROGRESSED,
        EventType.SUCCEEDED,
    ]


async def test_a_claim_that_is_sent_twice_still_answers_with_the_payload(repeating: RepeatingRecord) -> None:
    task = await appended(repeating, submission())
    assert await repeating.append(change(task, CLAIM, want_payload=True)) == Appended(PAYLOAD)


async def test_a_refused_append_that_is_sent_twice_is_refused_twice(repeating: RepeatingRecord) -> None:
    task = await appended(repeating, submission())
    await appended(repeating, change(task, CLAIM))
    assert isinstance(await repeating.append(change(task, Cancel())), Conflict)
    assert len(await repeating.read_events(task.id, after=0, limit=100)) == 2


async def test_an_append_that_arrives_again_after_others_followed_changes_nothing(
    repeating: RepeatingRecord, store_url: str, key_prefix: str
) -> None:
    other = RedisRecord(store_url, prefix=key_prefix)
    try:
        task = await appended(repeating, submission())
        task = await appended(repeating, change(task, CLAIM))
        ended = await appended(other, change(task, SUCCEED))
        reply = await repeating.send_again()
        assert reply[0] == 1, "the claim is in the record"
        assert await other.read(task.id) == shown(ended)
        assert await other.due([task.id[-2:]], until=2 * NOW, limit=10) == []
    finally:
        await other.close()


async def test_a_connection_that_breaks_is_not_noticed_and_no_append_takes_effect_twice(
    record: RedisRecord, server: Redis
) -> None:
    tasks = [await claimed(record) for _ in range(10)]
    for percent in range(20):
        kill = asyncio.ensure_future(server.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
        changes = [change(task, progress(percent)) for task in tasks]
        assert await asyncio.gather(*(record.append(each) for each in changes)) == [Appended()] * len(tasks)
        tasks = [each.task for each in changes]
        await kill
    for task in tasks:
        events = await record.read_events(task.id, after=2, limit=100)
        assert [event.progress.percent for event in events if event.progress] == [float(n) for n in range(20)]


# --- payload and result ---------------------------------------------------------------------------------------------


async def test_the_payload_comes_with_the_append_only_when_asked_for(record: RedisRecord) -> None:
    task = await appended(record, submission())
    without = change(task, ConfirmDispatch())
    assert await record.append(without) == Appended(None)
    assert await record.append(change(task, CLAIM, want_payload=True)) == Appended(PAYLOAD)


async def test_a_task_without_a_payload_answers_with_an_empty_one(record: RedisRecord) -> None:
    task = await appended(record, submission(spec=replace(SPEC, payload=None)))
    assert await record.append(change(task, CLAIM, want_payload=True)) == Appended(b"")


async def test_payload_and_result_are_read_only_when_asked_for(record: RedisRecord) -> None:
    task = await claimed(record)
    task = shown(await appended(record, change(task, SUCCEED)))
    assert await record.read(task.id) == task
    assert await record.read(task.id, payload=False) == replace(task, spec=replace(task.spec, payload=None))
    assert await record.read(task.id, result=False) == replace(task, result=None)
    assert await record.read(task.id, payload=False, result=False) == without_values(task)


async def test_a_result_is_stored_once_and_not_in_the_log(record: RedisRecord, server: Redis, key_prefix: str) -> None:
    result = encode_json("x" * 500_000, "result")
    task = await claimed(record)
    task = await appended(record, change(task, Succeed(attempt=1, result=result)))
    events = await record.read_events(task.id, after=0, limit=10)
    assert [event.result for event in events] == [None, None, None]
    read = await record.read(task.id)
    assert read is not None
    assert read.result == result
    sizes = [await server.memory_usage(key, samples=0) for key in await server.keys(f"{key_prefix}:*")]
    assert sum(size for size in sizes if size) < 2 * len(result)


async def test_a_conflict_comes_without_payload_and_result(record: RedisRecord) -> None:
    task = await claimed(record)
    ended = await appended(record, change(task, SUCCEED))
    assert await record.append(change(task, Cancel())) == Conflict(without_values(shown(ended)))


@pytest.mark.parametrize("size", [64 * 1_024, 1 << 20])
async def test_large_payloads_and_results_come_back_as_they_were(record: RedisRecord, size: int) -> None:
    big = encode_json("x" * size, "payload")
    task = await appended(record, submission(spec=replace(SPEC, payload=big)))
    claim = change(task, CLAIM, want_payload=True)
    assert await record.append(claim) == Appended(big)
    await appended(record, change(claim.task, Succeed(attempt=1, result=big)))
    read = await record.read(task.id)
    assert read is not None
    assert (read.spec.payload, read.result) == (big, big)


# --- reading --------------------------------------------------------------------------------------------------------


async def test_of_a_task_that_is_not_there_nothing_is_read(record: RedisRecord) -> None:
    task_id = new_task_id()
    assert await record.read(task_id) is None
    assert await record.read_sequence(task_id) == 0
    assert await record.read_events(task_id, after=0, limit=10) == []


async def test_many_tasks_are_read_at_once_in_the_order_asked_for(record: RedisRecord) -> None:
    waiting = await appended(record, submission())
    running = await claimed(record)
    ended = shown(await appended(record, change(await claimed(record), SUCCEED)))
    asked = [ended.id, new_task_id(), waiting.id, running.id, waiting.id]
    assert await record.read_many(asked) == [
        without_values(ended),
        None,
        without_values(waiting),
        shown(without_values(running)),
        without_values(waiting),
    ]
    assert await record.read_many(asked, payload=True, result=True) == [
        ended,
        None,
        waiting,
        shown(running),
        waiting,
    ]
    assert await record.read_sequences(asked) == [3, 0, 1, 2, 1]
    assert await record.read_many([]) == []
    assert await record.read_sequences([]) == []


async def test_events_are_read_in_pages(record: RedisRecord) -> None:
    task = await claimed(record)
    await appended(record, change(task, *(progress(percent) for percent in range(98))))
    sequences: list[int] = []
    while page := await record.read_events(task.id, after=len(sequences), limit=7):
        assert len(page) <= 7
        sequences += [event.sequence for event in page]
    assert sequences == list(range(1, 101))


@pytest.mark.parametrize(
    ("after", "limit", "expected"), [(0, 2, [1, 2]), (1, 1, [2]), (2, 100, [3, 4]), (4, 10, []), (99, 10, [])]
)
async def test_events_after_a_sequence(record: RedisRecord, after: int, limit: int, expected: list[int]) -> None:
    task = await claimed(record)
    await appended(record, change(task, progress(1), progress(2)))
    events = await record.read_events(task.id, after=after, limit=limit)
    assert [event.sequence for event in events] == expected


async def test_an_event_comes_back_as_it_was_decided(record: RedisRecord) -> None:
    task = await claimed(record)
    what = change(task, progress(12.5), HandBack(attempt=1), now=NOW + 7)
    await appended(record, what)
    events = await record.read_events(task.id, after=2, limit=10)
    assert events == [replace(event, lease=0) for event in what.events]
