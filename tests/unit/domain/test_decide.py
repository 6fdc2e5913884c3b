"""What each command makes of a task, in detail; `test_state_machine.py` has the whole table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.domain.commands import (
    Abort,
    Cancel,
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
from shared.domain.decide import (
    CLAIM_TOLERANCE,
    DISPATCH_GRACE,
    REDISPATCH_FIRST,
    REDISPATCH_LONGEST,
    Refusal,
    RefusalReason,
    Rescheduled,
    decide,
    dispatch_due,
    next_wake,
)
from shared.domain.evolve import ATTEMPTS_KEPT
from shared.domain.task import (
    AttemptTerms,
    EventType,
    RetryPolicy,
    TaskEvent,
    TaskProgress,
    TaskSpec,
    TaskStatus,
)
from tests.unit.domain.lives import ERROR, LEASE, START, TASK_ID, claim, processing, waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.domain.lives import Life

SPEC = TaskSpec(type="report.render", payload=b"p")
HALF = TaskProgress(percent=50.0)


def test_a_submission_becomes_the_first_event_with_all_that_was_asked() -> None:
    command = Submit(task_id=TASK_ID, tenant="acme", spec=SPEC, retry_of="another")
    assert decide(None, command, START) == TaskEvent(
        task_id=TASK_ID,
        sequence=1,
        type=EventType.SUBMITTED,
        status=TaskStatus.WAITING,
        attempt=0,
        time=START,
        tenant="acme",
        spec=SPEC,
        retry_of="another",
    )


# --- Claims ----------------------------------------------------------------------------------------------------


def test_a_claim_starts_the_next_attempt_under_settled_terms() -> None:
    life = waiting(replace(SPEC, retry_policy=RetryPolicy(max_attempts=7)))
    task = life.asked(claim(worker="w", terms=AttemptTerms(attempt_timeout=5)), after=10)
    assert (task.status, task.attempt, task.start_time) == (TaskStatus.PROCESSING, 1, START + 10)
    assert task.terms == AttemptTerms(max_attempts=7, attempt_timeout=5)
    assert [(attempt.number, attempt.worker, attempt.outcome) for attempt in task.attempts] == [(1, "w", None)]
    assert task.timers.lease_expires == START + 10 + LEASE


@pytest.mark.parametrize(("early_by", "may_start"), [(CLAIM_TOLERANCE + 1, False), (CLAIM_TOLERANCE, True), (0, True)])
def test_a_claim_may_come_too_early_only_by_as_much_as_clocks_differ(early_by: int, may_start: bool) -> None:
    life = waiting(replace(SPEC, schedule_time=START + 60_000))
    verdict = life.ask(claim(), after=60_000 - early_by)
    assert isinstance(verdict, TaskEvent) if may_start else verdict == Refusal(RefusalReason.NOT_DUE)


def test_a_retry_is_not_claimed_before_its_back_off() -> None:
    life = processing(SPEC)
    life.asked(Retry(attempt=1, error=ERROR, after=60_000))
    assert life.ask(claim()) == Refusal(RefusalReason.NOT_DUE)
    assert life.asked(claim(), after=60_000).attempt == 2


def test_a_message_left_over_from_an_earlier_attempt_does_not_start_the_next_one_early() -> None:
    life = processing(SPEC)
    life.asked(Retry(attempt=1, error=ERROR, after=200))
    assert life.ask(replace(claim(), attempt=1), after=199) == Refusal(RefusalReason.NOT_DUE)
    assert isinstance(life.ask(replace(claim(), attempt=2)), TaskEvent)
    life.asked(Retry(attempt=2, error=ERROR, after=200))
    assert life.asked(replace(claim(), attempt=1), after=200).attempt == 3


def test_the_first_start_stays_and_the_last_error_goes_when_another_attempt_begins() -> None:
    life = processing(SPEC)
    life.asked(ReportProgress(attempt=1, progress=HALF, lease=LEASE), Retry(attempt=1, error=ERROR, after=0), after=5)
    assert life.task is not None
    assert life.task.error == ERROR
    task = life.asked(claim(), after=5)
    assert (task.start_time, task.error, task.progress, task.next_attempt_time) == (START, None, None, None)


# --- Words of the running attempt ------------------------------------------------------------------------------


def test_a_renewed_lease_is_no_event_and_holds_from_now() -> None:
    life = processing(SPEC)
    before = life.task
    verdict = life.ask(RenewLease(attempt=1, lease=LEASE), after=7_000)
    assert isinstance(verdict, Rescheduled)
    assert verdict.timers.lease_expires == START + 7_000 + LEASE
    assert life.task == before, "timers are no part of what a task is"


def test_progress_renews_the_lease() -> None:
    task = processing(SPEC).asked(ReportProgress(attempt=1, progress=HALF, lease=LEASE), after=7_000)
    assert task.progress == HALF
    assert task.timers.lease_expires == START + 7_000 + LEASE


def test_success_keeps_the_result_and_sets_when_the_task_is_forgotten() -> None:
    task = processing(replace(SPEC, retention=1_000)).asked(Succeed(attempt=1, result=b"r"), after=5)
    assert (task.result, task.end_time, task.expire_time) == (b"r", START + 5, START + 1_005)
    assert task.attempts[-1].outcome is TaskStatus.SUCCESS
    assert task.attempts[-1].end_time == START + 5


def test_a_failure_is_never_retried() -> None:
    task = processing(SPEC).asked(Fail(attempt=1, error=ERROR))
    assert (task.status, task.error) == (TaskStatus.FAILED, ERROR)


def test_an_abort_ends_the_task_though_attempts_are_left() -> None:
    task = processing(SPEC).asked(Abort(attempt=1, error=ERROR))
    assert (task.status, task.error, task.attempt) == (TaskStatus.ERROR, ERROR, 1)


def test_a_retry_waits_as_long_as_the_handler_asked() -> None:
    task = processing(SPEC).asked(Retry(attempt=1, error=ERROR, after=1_234), after=5)
    assert (task.status, task.error) == (TaskStatus.WAITING, ERROR)
    assert task.next_attempt_time == START + 5 + 1_234
    assert task.attempts[-1].outcome is TaskStatus.WAITING
    assert next_wake(task) == START + 5 + 1_234


def test_the_last_attempt_is_not_retried() -> None:
    life = processing(replace(SPEC, retry_policy=RetryPolicy(max_attempts=2)), attempt=2)
    task = life.asked(Retry(attempt=2, error=ERROR))
    assert (task.status, task.error) == (TaskStatus.ERROR, ERROR)


def test_an_attempt_that_is_handed_back_runs_again_at_once_and_uses_up_no_retry() -> None:
    life = processing(replace(SPEC, retry_policy=RetryPolicy(max_attempts=1)))
    for attempt in range(1, 6):
        task = life.asked(HandBack(attempt=attempt))
        assert task.next_attempt_time == life.now
        assert task.error is not None
        assert task.error.code == "WORKER_SHUTDOWN"
        life.asked(claim())
    assert life.asked(Retry(attempt=6, error=ERROR)).status is TaskStatus.ERROR


def test_many_hand_backs_do_not_make_a_task_forget_the_attempts_it_used_up() -> None:
    life = processing(replace(SPEC, retry_policy=RetryPolicy(max_attempts=2)))
    life.asked(Retry(attempt=1, error=ERROR, after=0), claim())
    for attempt in range(2, 2 + ATTEMPTS_KEPT):
        life.asked(HandBack(attempt=attempt), claim())
    assert life.task is not None
    assert len(life.task.attempts) == ATTEMPTS_KEPT
    assert life.asked(Retry(attempt=life.task.attempt, error=ERROR)).status is TaskStatus.ERROR


# --- Cancel ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [waiting, processing])
def test_cancel_is_final_at_once_and_keeps_its_reason(begin: Callable[[TaskSpec], Life]) -> None:
    life = begin(SPEC)
    task = life.asked(Cancel(reason="enough"))
    assert (task.status, task.cancel_reason) == (TaskStatus.CANCELLED, "enough")
    assert next_wake(task) is None
    assert life.ask(Succeed(attempt=1, result=b"r")) == Refusal(RefusalReason.FINISHED)


# --- Wakes -----------------------------------------------------------------------------------------------------


def test_a_lost_lease_runs_the_task_again_at_once() -> None:
    life = processing(SPEC)
    assert life.ask(Wake(), after=LEASE - 1) == Refusal(RefusalReason.NOT_DUE)
    task = life.asked(Wake(), after=1)
    assert (task.status, task.next_attempt_time) == (TaskStatus.WAITING, START + LEASE)
    assert task.error is not None
    assert task.error.code == "LEASE_LOST"
    assert "worker-1" in task.error.message


def test_a_lost_lease_of_the_last_attempt_is_an_error() -> None:
    task = processing(replace(SPEC, retry_policy=RetryPolicy(max_attempts=1))).asked(Wake(), after=LEASE)
    assert task.status is TaskStatus.ERROR
    assert task.error is not None
    assert task.error.code == "LEASE_LOST"


def test_an_attempt_out_of_time_is_retried_with_back_off() -> None:
    spec = replace(SPEC, attempt_timeout=2_000, retry_policy=RetryPolicy(initial_backoff=1_000))
    life = processing(spec)
    assert life.ask(Wake(), after=1_999) == Refusal(RefusalReason.NOT_DUE)
    task = life.asked(Wake(), after=1)
    assert task.status is TaskStatus.WAITING
    assert task.error is not None
    assert (task.error.code, "2 s" in task.error.message) == ("ATTEMPT_TIMEOUT", True)
    assert task.next_attempt_time is not None
    assert 800 <= task.next_attempt_time - life.now <= 1_000


def test_a_last_attempt_out_of_time_is_a_timeout() -> None:
    spec = replace(SPEC, attempt_timeout=2_000, retry_policy=RetryPolicy(max_attempts=1))
    task = processing(spec).asked(Wake(), after=2_000)
    assert task.status is TaskStatus.TIMEOUT
    assert task.error is not None
    assert task.error.code == "ATTEMPT_TIMEOUT"


def test_no_attempt_timeout_means_that_only_the_lease_counts() -> None:
    life = processing(replace(SPEC, attempt_timeout=0))
    for _ in range(100):
        life.asked(RenewLease(attempt=1, lease=LEASE), after=LEASE - 1)
        assert life.ask(Wake()) == Refusal(RefusalReason.NOT_DUE)


@pytest.mark.parametrize("status", ["waiting", "processing", "waiting for a retry"])
def test_the_deadline_ends_a_task_whatever_it_does(status: str) -> None:
    spec = replace(SPEC, timeout=30_000, attempt_timeout=30_000)
    life = waiting(spec) if status == "waiting" else processing(spec)
    if status == "waiting for a retry":
        life.asked(Retry(attempt=1, error=ERROR, after=60_000))
    # By then the lease and the attempt's own time have run out as well: the deadline goes before both.
    task = life.asked(Wake(), after=30_000)
    assert task.status is TaskStatus.TIMEOUT
    assert task.error is not None
    assert (task.error.code, "30 s" in task.error.message) == ("TASK_TIMEOUT", True)


def test_the_deadline_counts_from_the_schedule_time_if_that_is_later() -> None:
    life = waiting(replace(SPEC, schedule_time=START + 60_000, timeout=1_000))
    assert life.ask(Wake(), after=60_999) == Refusal(RefusalReason.NOT_DUE)
    assert life.asked(Wake(), after=1).status is TaskStatus.TIMEOUT


def test_a_timeout_of_zero_is_none() -> None:
    task = waiting(replace(SPEC, timeout=0)).task
    assert task is not None
    assert task.deadline is None


# --- Dispatch --------------------------------------------------------------------------------------------------


def test_a_new_task_is_looked_at_again_if_no_dispatch_is_confirmed() -> None:
    task = waiting(SPEC).task
    assert task is not None
    assert next_wake(task) == START + DISPATCH_GRACE
    assert not dispatch_due(task, START + DISPATCH_GRACE - 1)
    assert dispatch_due(task, START + DISPATCH_GRACE)


def test_a_task_for_later_is_dispatched_at_its_time() -> None:
    task = waiting(replace(SPEC, schedule_time=START + 60_000)).task
    assert task is not None
    assert next_wake(task) == START + 60_000
    assert dispatch_due(task, START + 60_000)


def test_a_confirmed_task_is_looked_at_at_growing_intervals() -> None:
    life = waiting(SPEC)
    intervals = []
    for _ in range(12):
        task = life.asked(ConfirmDispatch())
        intervals.append(task.timers.dispatch_at - life.now)
    assert intervals[:4] == [REDISPATCH_FIRST, 2 * REDISPATCH_FIRST, 4 * REDISPATCH_FIRST, 8 * REDISPATCH_FIRST]
    assert intervals == sorted(intervals)
    assert intervals[-1] == REDISPATCH_LONGEST


def test_a_dispatch_in_vain_is_tried_again_soon() -> None:
    task = waiting(SPEC).asked(PostponeDispatch(), after=100)
    assert task.timers.dispatch_at == START + 100 + DISPATCH_GRACE
    assert task.timers.dispatches == 0


def test_a_running_task_is_never_dispatched() -> None:
    task = processing(SPEC).task
    assert task is not None
    assert not dispatch_due(task, START + 10 * REDISPATCH_LONGEST)
