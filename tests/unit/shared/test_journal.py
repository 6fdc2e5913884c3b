"""The journal on a real record: what it decides is appended, once, whoever else changes the task meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from shared.codec import decode_event
from shared.domain.commands import (
    Cancel,
    Claim,
    ConfirmDispatch,
    HandBack,
    RenewLease,
    ReportProgress,
    Submit,
    Succeed,
    Wake,
)
from shared.domain.decide import RefusalReason
from shared.domain.task import AttemptTerms, EventType, TaskProgress, TaskSpec, TaskStatus
from shared.journal import MOST_CONFLICTS, Done, Journal, Order, Refused
from shared.json_values import encode_json
from shared.ports import StoreUnavailableError
from tests.unit.domain.lives import LEASE, TASK_ID
from tests.unit.domain.strategies import settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.domain.task import Task
    from shared.ports import Appended, Change, Conflict

pytestmark = pytest.mark.integration

PAYLOAD = encode_json({"pages": 10}, "payload")
SPEC = TaskSpec(type="report.render", payload=PAYLOAD)
CLAIM = Claim(worker="worker-1", terms=AttemptTerms(), lease=LEASE)


def progress(percent: float, *, attempt: int = 1) -> ReportProgress:
    return ReportProgress(attempt=attempt, progress=TaskProgress(percent=percent), lease=LEASE)


class Corner:
    """A record, a journal on it, and what the journal broadcast."""

    def __init__(self, record: RedisRecord) -> None:
        self.record = record
        self.clock = RecordClock(record)
        self.heard: list[tuple[str, bytes]] = []
        self.journal = Journal(record, self.clock, lambda key, body: self.heard.append((key, body)))

    async def submitted(self) -> Task:
        await self.clock.synchronise()
        done = await self.journal.create(TASK_ID, Submit(task_id=TASK_ID, tenant="acme", spec=SPEC))
        assert isinstance(done, Done)
        return done.task

    async def claimed(self) -> Task:
        done = await self.journal.execute(TASK_ID, CLAIM, known=await self.submitted())
        assert isinstance(done, Done)
        return done.task

    async def log(self) -> list[EventType]:
        return [event.type for event in await self.record.read_events(TASK_ID, after=0, limit=1_000)]


@pytest.fixture
async def corner(redis_url: str, key_prefix: str) -> AsyncIterator[Corner]:
    record = RedisRecord(redis_url, prefix=key_prefix)
    yield Corner(record)
    await record.close()


async def test_what_is_carried_out_is_recorded_and_broadcast(corner: Corner) -> None:
    task = await corner.claimed()
    done = await corner.journal.execute(TASK_ID, progress(10), Succeed(attempt=1, result=PAYLOAD), known=task)
    assert isinstance(done, Done)
    assert await corner.record.read(TASK_ID) == replace(done.task, spec=settled(SPEC, CLAIM.terms))
    assert await corner.log() == [
        EventType.SUBMITTED,
        EventType.STARTED,
        EventType.PROGRESSED,
        EventType.SUCCEEDED,
    ]
    assert [key for key, _ in corner.heard] == [
        f"5e.{TASK_ID}.{word}" for word in ("submitted", "started", "progressed", "succeeded")
    ]
    assert [decode_event(body).sequence for _, body in corner.heard] == [1, 2, 3, 4]
    assert decode_event(corner.heard[-1][1]).result == PAYLOAD


async def test_many_orders_are_carried_out_each_by_itself(corner: Corner) -> None:
    running = await corner.claimed()
    ids = [f"{TASK_ID[:-4]}{number:04x}" for number in range(4)]
    done = await corner.journal.execute_all(
        [Order(task_id, Submit(task_id=task_id, tenant="acme", spec=SPEC), fingerprint=b"f") for task_id in ids]
    )
    tasks = [outcome.task for outcome in done if isinstance(outcome, Done)]
    assert [task.id for task in tasks] == ids
    # One changes behind the caller's back, one has ended, and one is not what the caller thinks.
    await corner.journal.execute(ids[1], CLAIM)
    await corner.journal.execute(ids[2], Cancel(reason="first"))
    corner.heard.clear()
    outcomes = await corner.journal.execute_all(
        [
            *(Order(task.id, Cancel(), task) for task in tasks),
            Order(running.id, progress(10, attempt=7), running),
            Order(ids[0], Submit(task_id=ids[0], tenant="acme", spec=SPEC), fingerprint=b"g"),
        ]
    )

    assert [isinstance(outcome, Done) for outcome in outcomes] == [True, True, False, True, False, False]
    assert outcomes[2] == Refused(RefusalReason.ALREADY_CANCELLED, await corner.record.read(ids[2]), b"f")
    assert outcomes[4] == Refused(RefusalReason.SUPERSEDED, replace(running, spec=settled(SPEC, CLAIM.terms)))
    assert isinstance(outcomes[5], Refused)
    assert (outcomes[5].reason, outcomes[5].fingerprint) == (RefusalReason.ALREADY_EXISTS, b"f")
    cancelled = [decode_event(body).task_id for _, body in corner.heard]
    assert sorted(cancelled) == sorted([ids[0], ids[1], ids[3]])
    assert await corner.journal.execute_all([]) == []


async def test_a_confirmation_is_noted_only_where_the_task_still_waits(corner: Corner) -> None:
    waits = await corner.submitted()
    other = f"{TASK_ID[:-2]}00"
    done = await corner.journal.create(other, Submit(task_id=other, tenant="acme", spec=SPEC))
    assert isinstance(done, Done)
    await corner.journal.execute(other, CLAIM)
    corner.heard.clear()
    await corner.journal.retime_all([waits, done.task], ConfirmDispatch())

    noted, running = await corner.record.read_many([waits.id, other], payload=True)
    assert noted == waits
    assert noted is not None
    assert noted.timers.dispatches == 1
    assert running is not None
    assert (running.status, running.timers.dispatches) == (TaskStatus.PROCESSING, 0)
    assert corner.heard == [], "it is no event"


async def test_a_command_on_no_task_is_refused(corner: Corner) -> None:
    await corner.clock.synchronise()
    assert await corner.journal.execute(TASK_ID, Cancel()) == Refused(RefusalReason.NOT_FOUND, None)
    assert corner.heard == []


async def test_a_change_without_a_command_is_no_change(corner: Corner) -> None:
    await corner.clock.synchronise()
    with pytest.raises(ValueError, match="at least one command"):
        await corner.journal.execute(TASK_ID)


async def test_a_second_submission_is_refused_with_the_first_one_s_fingerprint(corner: Corner) -> None:
    await corner.clock.synchronise()
    command = Submit(task_id=TASK_ID, tenant="acme", spec=SPEC)
    first = await corner.journal.create(TASK_ID, command, fingerprint=b"one")
    second = await corner.journal.create(TASK_ID, command, fingerprint=b"other")
    assert isinstance(first, Done)
    assert isinstance(second, Refused)
    assert (second.reason, second.fingerprint) == (RefusalReason.ALREADY_EXISTS, b"one")
    assert second.task == replace(first.task, spec=replace(SPEC, payload=None))


async def test_a_caller_who_knows_an_old_task_has_the_rules_decide_again(corner: Corner) -> None:
    old = await corner.submitted()
    await corner.journal.execute(TASK_ID, CLAIM)
    await corner.journal.execute(TASK_ID, progress(10))
    done = await corner.journal.execute(TASK_ID, Cancel(), known=old)
    assert isinstance(done, Done)
    assert (done.task.status, done.task.sequence, done.task.attempt) == (TaskStatus.CANCELLED, 4, 1)
    assert done.task.attempts[0].outcome is TaskStatus.CANCELLED


async def test_a_caller_who_knows_an_old_task_is_refused_by_what_the_task_is_now(corner: Corner) -> None:
    old = await corner.claimed()
    await corner.journal.execute(TASK_ID, HandBack(attempt=1))
    await corner.journal.execute(TASK_ID, CLAIM)
    late = await corner.journal.execute(TASK_ID, Succeed(attempt=1, result=PAYLOAD), known=old)
    assert isinstance(late, Refused)
    assert late.reason is RefusalReason.SUPERSEDED
    assert late.task is not None
    assert late.task.attempt == 2


async def test_a_caller_who_knows_an_old_task_is_not_refused_for_what_it_was(corner: Corner) -> None:
    old = await corner.submitted()
    await corner.journal.execute(TASK_ID, CLAIM)
    done = await corner.journal.execute(TASK_ID, Succeed(attempt=1, result=PAYLOAD), known=old)
    assert isinstance(done, Done)
    assert done.task.status is TaskStatus.SUCCESS


async def test_of_many_cancels_at_once_one_is_the_event(corner: Corner) -> None:
    await corner.submitted()
    answers = await asyncio.gather(*(corner.journal.execute(TASK_ID, Cancel()) for _ in range(50)))
    assert sum(isinstance(answer, Done) for answer in answers) == 1
    assert {a.reason for a in answers if isinstance(a, Refused)} == {RefusalReason.ALREADY_CANCELLED}
    assert await corner.log() == [EventType.SUBMITTED, EventType.CANCELLED]
    assert len(corner.heard) == 2


async def test_of_many_claims_at_once_one_gets_the_task(corner: Corner) -> None:
    task = await corner.submitted()
    answers = await asyncio.gather(
        *(
            corner.journal.execute(TASK_ID, replace(CLAIM, worker=f"worker-{number}"), known=task, want_payload=True)
            for number in range(50)
        )
    )
    won = [answer for answer in answers if isinstance(answer, Done)]
    assert len(won) == 1
    assert won[0].task.spec.payload == PAYLOAD
    assert {a.reason for a in answers if isinstance(a, Refused)} == {RefusalReason.NOT_WAITING}
    stored = await corner.record.read(TASK_ID)
    assert stored is not None
    assert stored.attempts == won[0].task.attempts


async def test_a_cancel_and_a_success_at_once_give_one_end(corner: Corner) -> None:
    task = await corner.claimed()
    cancelled, succeeded = await asyncio.gather(
        corner.journal.execute(TASK_ID, Cancel(), known=task),
        corner.journal.execute(TASK_ID, Succeed(attempt=1, result=PAYLOAD), known=task),
    )
    assert isinstance(cancelled, Done) != isinstance(succeeded, Done)
    assert len(await corner.log()) == 3


async def test_several_commands_are_one_append_or_none(corner: Corner) -> None:
    task = await corner.claimed()
    refused = await corner.journal.execute(TASK_ID, progress(90), Succeed(attempt=2, result=PAYLOAD), known=task)
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.SUPERSEDED
    assert await corner.log() == [EventType.SUBMITTED, EventType.STARTED]
    assert len(corner.heard) == 2
    assert (await corner.journal.execute(TASK_ID, progress(90), progress(95), known=task)) != refused
    assert await corner.log() == [EventType.SUBMITTED, EventType.STARTED, EventType.PROGRESSED, EventType.PROGRESSED]


async def test_other_timers_are_recorded_and_broadcast_to_nobody(corner: Corner) -> None:
    task = await corner.claimed()
    done = await corner.journal.execute(TASK_ID, RenewLease(attempt=1, lease=10 * LEASE), known=task)
    assert isinstance(done, Done)
    assert done.events == ()
    stored = await corner.record.read(TASK_ID)
    assert stored is not None
    assert stored.timers == done.task.timers
    assert stored.timers.lease_expires >= task.timers.lease_expires + 8 * LEASE
    assert len(corner.heard) == 2


async def test_a_wake_that_comes_too_early_changes_nothing(corner: Corner) -> None:
    task = await corner.claimed()
    refused = await corner.journal.execute(TASK_ID, Wake(), known=task)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.task) == (RefusalReason.NOT_DUE, replace(task, spec=settled(SPEC, CLAIM.terms)))


class ContendedRecord(RedisRecord):
    """A record on which somebody else is always a little faster."""

    rivals: Journal | None = None

    async def append(self, change: Change) -> Appended | Conflict:
        if self.rivals is not None:
            await self.rivals.execute(change.task.id, progress(50))
        return await super().append(change)


async def test_a_change_that_always_loses_the_race_gives_up_and_says_so(redis_url: str, key_prefix: str) -> None:
    record = ContendedRecord(redis_url, prefix=key_prefix)
    corner = Corner(record)
    other = RedisRecord(redis_url, prefix=key_prefix)
    try:
        task = await corner.claimed()
        record.rivals = Journal(other, corner.clock, lambda _key, _body: None)
        with pytest.raises(StoreUnavailableError, match=f"changed {MOST_CONFLICTS} times"):
            await corner.journal.execute(TASK_ID, progress(10), known=task)
        assert len(await corner.log()) == 2 + MOST_CONFLICTS
        record.rivals = None
        assert isinstance(await corner.journal.execute(TASK_ID, progress(10), known=task), Done)
    finally:
        await record.close()
        await other.close()
