"""The real record and a plain model of it live the same lives, and after every step they say the same of everything.

Commands of every kind come in any order, in time and late, on what the caller knows and on what it no longer should;
appends arrive twice, at once or when others have followed; the clock goes on, jumps and steps back; tasks expire.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from shared.adapters.redis import RedisRecord
from shared.domain.commands import (
    Abort,
    Cancel,
    Claim,
    ConfirmDispatch,
    Fail,
    HandBack,
    PostponeDispatch,
    RenewLease,
    ReportProgress,
    Retry,
    Submit,
    Succeed,
    Wake,
)
from shared.domain.filters import TaskFilter
from shared.domain.task import AttemptTerms, RetryPolicy, TaskError, TaskPriority, TaskProgress, TaskSpec, TaskStatus
from shared.journal import Done, Journal
from shared.json_values import encode_json
from tests.contract.changes import shown
from tests.integration.record_model import TERMINAL, Model, kept_until, may_run_from, wake_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from shared.adapters.redis.store import Run
    from shared.domain.commands import Command
    from shared.domain.decide import RefusalReason
    from shared.domain.task import Millis, Task

pytestmark = pytest.mark.integration

START: Millis = 1_700_000_000_000
PARTITIONS = ("00", "ff")
TENANTS = ("acme", "acme/other")
LOG_LIMIT = 8
FOREVER = START * 2
TERMS = AttemptTerms(jitter=0.0, initial_backoff=700)
RESULT = encode_json({"done": True}, "result")
ERROR = TaskError(code="BROKEN", message="It broke.")

# Few tasks, so that each lives long; two of them in one partition.
TASK_IDS = tuple(f"0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0{ending}" for ending in ("a00", "b00", "aff"))
PAST_REPEATS = 5

ids = st.sampled_from(TASK_IDS)
leases = st.sampled_from([500, 5_000])
early = st.sampled_from([0, 0, 1, 700, 1_000, 1_001])
# A word of an attempt names the running one most of the time.
offsets = st.sampled_from([0, 0, 0, 0, -1, 1])
specs = st.builds(
    TaskSpec,
    type=st.sampled_from(["mail", "mail.send"]),
    payload=st.sampled_from([None, RESULT]),
    labels=st.sampled_from([{}, {"customer": "acme"}]),
    queue=st.sampled_from(["default", "slow"]),
    priority=st.sampled_from(TaskPriority),
    schedule_time=st.sampled_from([None, None, START - 1_000, START + 2_000, START + 20_000]),
    timeout=st.sampled_from([None, None, 0, 6_000]),
    attempt_timeout=st.sampled_from([None, 0, 3_000]),
    retry_policy=st.builds(RetryPolicy, max_attempts=st.sampled_from([None, 1, 2]), jitter=st.just(0.0)),
    retention=st.sampled_from([0, 12_000, 60_000]),
)
words = st.sampled_from(
    [
        lambda attempt, lease: RenewLease(attempt=attempt, lease=lease),
        lambda attempt, lease: ReportProgress(attempt=attempt, progress=TaskProgress(percent=lease / 100), lease=lease),
        lambda attempt, _: Succeed(attempt=attempt, result=RESULT),
        lambda attempt, _: Fail(attempt=attempt, error=ERROR),
        lambda attempt, _: Abort(attempt=attempt, error=ERROR),
        lambda attempt, _: Retry(attempt=attempt, error=ERROR),
        lambda attempt, lease: Retry(attempt=attempt, error=ERROR, after=lease),
        lambda attempt, _: HandBack(attempt=attempt),
    ]
)
COMMANDS = (
    lambda attempt, lease: Claim(worker="another", terms=TERMS, lease=lease, attempt=attempt),
    lambda _attempt, _lease: Cancel(),
    lambda _attempt, _lease: Wake(),
    lambda _attempt, _lease: ConfirmDispatch(),
    lambda _attempt, _lease: PostponeDispatch(),
)
FILTERS = (
    TaskFilter(),
    TaskFilter(type="mail"),
    TaskFilter(queue="slow", statuses=frozenset({TaskStatus.WAITING})),
    TaskFilter(statuses=frozenset({TaskStatus.PROCESSING, TaskStatus.SUCCESS}), type="mail.send"),
    TaskFilter(type="mail", queue="default", labels={"customer": "acme"}),
    TaskFilter(statuses=frozenset(TERMINAL)),
    TaskFilter(created_after=START + 2_000),
    TaskFilter(created_before=START + 2_000, queue="default"),
)

T = TypeVar("T")


class RepeatingRecord(RedisRecord):
    """A record on the model's clock whose appends can arrive more than once."""

    def __init__(self, url: str, prefix: str, model: Model) -> None:
        # What is said is tested here, not how soon.
        super().__init__(url, prefix=prefix, deadline=60, log_limit=LOG_LIMIT)
        self._model = model
        self.twice = False
        self.sent: list[Sequence[Run]] = []

    async def server_time(self) -> Millis:
        return self._model.now

    async def arrives_again(self, appends: Sequence[Run]) -> None:
        await super()._evaluate(appends)

    async def _evaluate(self, appends: Sequence[Run]) -> list[Any]:
        replies = await super()._evaluate(appends)
        self.sent = [*self.sent, appends][-PAST_REPEATS:]
        return await super()._evaluate(appends) if self.twice else replies


class ModelClock:
    """The clock port on the model's time."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def now(self) -> Millis:
        return self._model.now


class RecordAndModel(RuleBasedStateMachine):
    """Both of them, and what a caller may still know of each task."""

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__()
        self._url = url
        self._prefix = prefix
        self._loop = asyncio.new_event_loop()
        self.model = Model(START, log_limit=LOG_LIMIT)
        self.record = RepeatingRecord(url, prefix, self.model)
        self.journal = Journal(self.record, ModelClock(self.model), lambda _key, _body: None)
        self.known: dict[str, list[Task]] = {task_id: [] for task_id in TASK_IDS}
        self.steps = count()

    def teardown(self) -> None:
        try:
            self._leave_nothing_behind()
        finally:
            self._run(self.record.close())
            self._loop.close()

    def _leave_nothing_behind(self) -> None:
        """Once every task has ended and expired, no key is left but those that go by themselves."""
        for task_id in list(self.model.kept):
            self._carry_out(task_id, Cancel())
        self.model.now = max((kept_until(kept.task) for kept in self.model.kept.values()), default=self.model.now)
        self.sweep(10)
        with redis.Redis.from_url(self._url) as server:
            lasting = [key for key in server.keys(f"{self._prefix}:*") if server.pttl(key) < 0]
        assert lasting == []

    # --- Commands -----------------------------------------------------------------------------------------------------

    @rule(task_id=ids, spec=specs, tenant=st.sampled_from(TENANTS), retry_of=st.sampled_from(["", TASK_IDS[0]]))
    def submit(self, task_id: str, spec: TaskSpec, tenant: str, retry_of: str) -> None:
        command = Submit(task_id=task_id, tenant=tenant, spec=spec, retry_of=retry_of)
        fingerprint = repr((spec, tenant)).encode()
        expected = self.model.carry_out(task_id, command, fingerprint=fingerprint)
        outcome = self._run(self.journal.create(task_id, command, fingerprint=fingerprint))
        self._agree(task_id, expected, outcome)
        if not isinstance(outcome, Done):
            assert outcome.fingerprint == self.model.kept[task_id].fingerprint

    @rule(
        task_id=ids,
        spec=specs,
        early=early,
        lease=leases,
        offset=st.sampled_from([0, -1]),
        stale=st.booleans(),
        whole=st.booleans(),
    )
    def claim(
        self, *, task_id: str, spec: TaskSpec, early: Millis, lease: Millis, offset: int, stale: bool, whole: bool
    ) -> None:
        self._have_unfinished(task_id, spec)
        self._wait_until(may_run_from(self._task(task_id)) - early)
        attempt = self._attempt(task_id) + 1 + offset
        command = Claim(worker="worker", terms=TERMS, lease=lease, attempt=attempt)
        outcome = self._carry_out(task_id, command, stale=stale, want_payload=whole)
        if isinstance(outcome, Done) and whole:
            assert outcome.task.spec.payload == (self._task(task_id).spec.payload or b"")

    @rule(task_id=ids, spec=specs, word=words, lease=leases, offset=offsets, stale=st.booleans())
    def say(self, *, task_id: str, spec: TaskSpec, word: Any, lease: Millis, offset: int, stale: bool) -> None:
        self._have_running(task_id, spec)
        self._carry_out(task_id, word(self._attempt(task_id) + offset, lease), stale=stale)

    @rule(
        task_id=ids,
        spec=specs,
        times=st.integers(2, 6),
        at_once=st.booleans(),
        ends=st.sampled_from([False, False, True]),
    )
    def report_often(self, task_id: str, spec: TaskSpec, times: int, at_once: bool, ends: bool) -> None:
        self._have_running(task_id, spec)
        attempt = self._attempt(task_id)
        commands: list[Command] = [
            ReportProgress(attempt=attempt, progress=TaskProgress(completed=number), lease=5_000)
            for number in range(times)
        ]
        if ends:
            commands.append(Succeed(attempt=attempt, result=RESULT))
        # An append must fit into the half of a log that is never thinned, as each does outside of this test.
        for together in [commands] if at_once and len(commands) <= LOG_LIMIT // 2 else [[each] for each in commands]:
            self._carry_out(task_id, *together)

    @rule(task_id=ids, spec=specs, reason=st.sampled_from(["", "no longer"]), stale=st.booleans())
    def cancel(self, task_id: str, spec: TaskSpec, reason: str, stale: bool) -> None:
        self._have_unfinished(task_id, spec)
        self._carry_out(task_id, Cancel(reason=reason), stale=stale)

    @rule(task_id=ids, spec=specs, confirmed=st.booleans(), stale=st.booleans())
    def note_dispatch(self, task_id: str, spec: TaskSpec, confirmed: bool, stale: bool) -> None:
        self._have_unfinished(task_id, spec)
        self._carry_out(task_id, ConfirmDispatch() if confirmed else PostponeDispatch(), stale=stale)

    @rule(task_id=ids, spec=specs, early=early, runs=st.booleans(), stale=st.booleans())
    def wake(self, task_id: str, spec: TaskSpec, early: Millis, runs: bool, stale: bool) -> None:
        if runs:
            self._have_running(task_id, spec)
        else:
            self._have_unfinished(task_id, spec)
        self._wait_until(wake_of(self._task(task_id)) - early)
        self._carry_out(task_id, Wake(), stale=stale)

    @rule(task_id=ids, word=words | st.sampled_from(COMMANDS), lease=leases, offset=offsets, stale=st.booleans())
    def say_anything_to_whatever_there_is(
        self, task_id: str, word: Any, lease: Millis, offset: int, stale: bool
    ) -> None:
        self._carry_out(task_id, word(self._attempt(task_id) + offset, lease), stale=stale)

    # --- Everything else that happens -----------------------------------------------------------------------------

    @rule(move=st.sampled_from([1, 200, 600, 1_000, 3_000, 9_000, 15_000, 70_000, 400_000, -100]))
    def time_passes(self, move: Millis) -> None:
        self.model.now += move

    @rule(task_id=ids, early=early, limit=st.sampled_from([1, 10]))
    def sweep_when_a_task_expires(self, task_id: str, early: Millis, limit: int) -> None:
        kept = self.model.kept.get(task_id)
        if kept is not None and kept.task.status in TERMINAL:
            self._wait_until(kept_until(kept.task) - early)
        self.sweep(limit)

    @rule(limit=st.sampled_from([1, 10]))
    def sweep(self, limit: int) -> None:
        expected = sum(self.model.forget(partition, limit) for partition in PARTITIONS)
        assert self._run(self.record.forget(PARTITIONS, until=self.model.now, limit=limit)) == expected
        for task_id in TASK_IDS:
            if task_id not in self.model.kept:
                self.known[task_id] = []
        if expected:
            # An id that is free again is another task's: nobody resends for that long.
            self.record.sent = []

    @rule(twice=st.booleans())
    def replies_get_lost(self, twice: bool) -> None:
        self.record.twice = twice

    @rule(which=st.integers(0, PAST_REPEATS - 1))
    def an_append_arrives_again(self, which: int) -> None:
        # What changes timers only is sent again at once or never: see `replies_get_lost`.
        sent = [appends for appends in self.record.sent if all(int(arguments[4]) for _, arguments in appends)]
        if which < len(sent):
            self._run(self.record.arrives_again(sent[which]))

    # --- They say the same ----------------------------------------------------------------------------------------

    @invariant()
    def they_say_the_same(self) -> None:
        self._run(self._compare())

    async def _compare(self) -> None:
        # All at once: calls of one turn of the loop travel together.
        await asyncio.gather(
            *(self._compare_task(task_id) for task_id in TASK_IDS),
            *(self._compare_partition(partition) for partition in PARTITIONS),
            *(self._compare_tenant(tenant) for tenant in TENANTS),
            self._compare_timers(),
            self._compare_listing(),
        )

    async def _compare_task(self, task_id: str) -> None:
        kept = self.model.kept.get(task_id)
        after = next(self.steps) % (kept.task.sequence + 1) if kept else 0
        task, sequence, first, events = await asyncio.gather(
            self.record.read(task_id),
            self.record.read_sequence(task_id),
            self.record.first_kept(task_id),
            self.record.read_events(task_id, after=after, limit=100),
        )
        if kept is None:
            assert (task, sequence, first, events) == (None, 0, 1, [])
            return
        assert task is not None
        assert _bare(task) == _bare(shown(kept.task))
        assert task.timers == kept.task.timers
        assert (sequence, first) == (kept.task.sequence, kept.first)
        assert [_bare(event) for event in events] == [_bare(event) for event in kept.log if event.sequence > after]

    async def _compare_partition(self, partition: str) -> None:
        assert await self.record.unfinished(partition) == self.model.unfinished(partition)

    async def _compare_tenant(self, tenant: str) -> None:
        expired = await self.record.have_expired(tenant, TASK_IDS)
        assert expired == [(tenant, task_id) in self.model.expired for task_id in TASK_IDS]
        for since in (0, self.model.now - 3_000):
            assert set(await self.record.catalogue.changed(tenant, since=since)) == self.model.changed(tenant, since)

    async def _compare_timers(self) -> None:
        assert dict(await self.record.due(PARTITIONS, until=FOREVER, limit=100)) == self.model.wakes()
        assert await self.record.catalogue.queues() == self.model.queues()

    async def _compare_listing(self) -> None:
        step = next(self.steps)
        tenant, wanted, limit = TENANTS[step % 2], FILTERS[step % len(FILTERS)], (1, 2, 50)[step % 3]
        found: list[str] = []
        before = None
        while True:
            page = await self.record.catalogue.newest(tenant, wanted, before=before, limit=limit)
            found += [task.id for task in page.tasks]
            if page.next is None:
                break
            before = page.next
        assert found == self.model.listed(tenant, wanted)

    # --- How --------------------------------------------------------------------------------------------------------

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(call)

    def _task(self, task_id: str) -> Task:
        return self.model.kept[task_id].task

    def _attempt(self, task_id: str) -> int:
        kept = self.model.kept.get(task_id)
        return kept.task.attempt if kept else 0

    def _wait_until(self, time: Millis) -> None:
        self.model.now = max(self.model.now, time)

    def _have_unfinished(self, task_id: str, spec: TaskSpec) -> None:
        """See to it that there is such a task and that it is not terminal."""
        kept = self.model.kept.get(task_id)
        if kept is not None and kept.task.status in TERMINAL:
            self._wait_until(kept_until(kept.task))
            self.sweep(10)
        if task_id not in self.model.kept:
            self.submit(task_id, spec, TENANTS[0], "")

    def _have_running(self, task_id: str, spec: TaskSpec) -> None:
        """See to it that there is such a task and that it runs."""
        self._have_unfinished(task_id, spec)
        if self._task(task_id).status is TaskStatus.WAITING:
            self._wait_until(may_run_from(self._task(task_id)))
            self._carry_out(
                task_id, Claim(worker="worker", terms=TERMS, lease=5_000, attempt=self._attempt(task_id) + 1)
            )

    def _carry_out(self, task_id: str, *commands: Command, stale: bool = False, want_payload: bool = False) -> Any:
        """Both carry out the commands; the record from what a caller knew once, if it is to be `stale`."""
        known = self.known[task_id][0] if stale and self.known[task_id] else None
        expected = self.model.carry_out(task_id, *commands)
        outcome = self._run(self.journal.execute(task_id, *commands, known=known, want_payload=want_payload))
        self._agree(task_id, expected, outcome)
        return outcome

    def _agree(self, task_id: str, expected: RefusalReason | None, outcome: Any) -> None:
        if not isinstance(outcome, Done):
            assert outcome.reason == expected
            return
        assert expected is None
        # Where only timers changed, whoever knows the old ones knows nothing that the sequence could tell.
        earlier = [task for task in self.known[task_id] if task.sequence != outcome.task.sequence]
        self.known[task_id] = [*earlier, outcome.task][-3:]


def _bare(value: Any) -> Any:
    """A task or an event without the sentences in its errors."""

    def quiet(error: TaskError | None) -> TaskError | None:
        return error and replace(error, message="")

    value = replace(value, error=quiet(value.error))
    if hasattr(value, "attempts"):
        value = replace(value, attempts=tuple(replace(each, error=quiet(each.error)) for each in value.attempts))
    return value


def live_side_by_side(url: str, prefix: str, monkeypatch: pytest.MonkeyPatch, *, lives: int, steps: int) -> None:
    # With two partitions instead of 256 a listing costs a fraction.
    monkeypatch.setattr("shared.adapters.redis.catalogue.PARTITION_NAMES", PARTITIONS)
    numbers = count()

    class ThisRecordAndModel(RecordAndModel):
        def __init__(self) -> None:
            super().__init__(url, f"{prefix}-{next(numbers)}")

    run_state_machine_as_test(
        ThisRecordAndModel,
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            # To make a long life shorter takes longer than a test may.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(300)
def test_the_record_and_a_model_of_it_never_differ(
    redis_url: str, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_side_by_side(redis_url, key_prefix, monkeypatch, lives=40, steps=50)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_the_record_and_a_model_of_it_never_differ_in_many_long_lives(
    redis_url: str, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_side_by_side(redis_url, key_prefix, monkeypatch, lives=300, steps=150)
