"""What holds for every task, whatever is asked of it, in whatever order and at whatever time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, event, given, settings

from shared.domain.commands import (
    Abort,
    Cancel,
    Claim,
    Fail,
    HandBack,
    RenewLease,
    ReportProgress,
    Retry,
    Submit,
    Succeed,
    Wake,
)
from shared.domain.decide import (
    REDISPATCH_LONGEST,
    Refusal,
    RefusalReason,
    Rescheduled,
    decide,
    dispatch_due,
    next_wake,
)
from shared.domain.evolve import evolve
from shared.domain.retry import attempts_used
from shared.domain.task import Task, TaskEvent, TaskStatus
from tests.unit.domain.strategies import lives

if TYPE_CHECKING:
    from tests.unit.domain.lives import Life

law = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

OF_AN_ATTEMPT = RenewLease | ReportProgress | Succeed | Fail | Retry | Abort | HandBack


@law
@given(lives)
def test_i2_a_terminal_task_never_changes_and_has_exactly_one_terminal_event(life: Life) -> None:
    event(life.task.status.name if life.task else "never submitted")
    terminal = [e for e in life.events if e.status.is_terminal]
    assert len(terminal) == int(life.task is not None and life.task.status.is_terminal)
    for step in life.steps:
        if step.before is not None and step.before.status.is_terminal:
            assert isinstance(step.verdict, Refusal)
            assert step.after is step.before


@law
@given(lives)
def test_i3_sequences_have_no_hole_and_the_events_folded_give_the_task(life: Life) -> None:
    assert [e.sequence for e in life.events] == list(range(1, len(life.events) + 1))
    folded: Task | None = None
    for e in life.events:
        folded = evolve(folded, e)
        assert (folded.sequence, folded.status, folded.attempt, folded.update_time) == (
            e.sequence,
            e.status,
            e.attempt,
            e.time,
        )
    assert folded == life.task


@law
@given(lives)
def test_i6_a_superseded_attempt_changes_nothing(life: Life) -> None:
    for step in life.steps:
        task = step.before
        if task is None or task.status.is_terminal or not isinstance(step.command, OF_AN_ATTEMPT):
            continue
        running = task.status is TaskStatus.PROCESSING and step.command.attempt == task.attempt
        assert running == (step.verdict != Refusal(RefusalReason.SUPERSEDED))
        assert running or step.after is task


@law
@given(lives)
def test_event_times_never_run_backwards(life: Life) -> None:
    times = [e.time for e in life.events]
    assert times == sorted(times)
    if life.task is not None:
        for attempt in life.task.attempts:
            assert attempt.end_time is None or attempt.start_time <= attempt.end_time


@law
@given(lives)
def test_whoever_is_not_terminal_has_a_wake_and_nobody_else(life: Life) -> None:
    for step in life.steps:
        if step.after is None:
            continue
        wake = next_wake(step.after)
        assert (wake is None) == step.after.status.is_terminal
        if wake is not None:
            # No wake lies beyond what the task itself waits for, so none is as good as none.
            now = max(step.now, step.after.update_time)
            assert wake <= max(now, step.after.not_before) + REDISPATCH_LONGEST
            assert step.after.deadline is None or wake <= step.after.deadline


@law
@given(lives)
def test_a_wake_in_time_always_changes_something(life: Life) -> None:
    for step in life.steps:
        if step.after is None or (wake := next_wake(step.after)) is None:
            continue
        verdict = decide(step.after, Wake(), wake)
        if dispatch_due(step.after, wake) and not isinstance(verdict, TaskEvent):
            continue  # What is due is another dispatch, and that is not the rules' to carry out.
        assert isinstance(verdict, TaskEvent)
        before_time = decide(step.after, Wake(), wake - 1)
        late_already = step.after.update_time >= wake
        assert late_already or before_time == Refusal(RefusalReason.NOT_DUE)


@law
@given(lives)
def test_no_more_attempts_are_used_up_than_the_terms_allow(life: Life) -> None:
    for step in life.steps:
        task = step.after
        if task is None or task.terms is None:
            continue
        handed_back = sum(1 for s in life.steps if isinstance(s.command, HandBack) and s.after is not s.before)
        assert attempts_used(task) <= task.terms.max_attempts
        assert task.attempt <= task.terms.max_attempts + handed_back


@law
@given(lives)
def test_a_wake_after_the_deadline_ends_the_task_in_timeout_whatever_else_is_due(life: Life) -> None:
    for step in life.steps:
        task = step.after
        if task is None or task.status.is_terminal or task.deadline is None:
            continue
        for late in (0, 1, 1_000_000):
            verdict = decide(task, Wake(), task.deadline + late)
            assert isinstance(verdict, TaskEvent)
            assert verdict.status is TaskStatus.TIMEOUT
            assert verdict.error is not None
            assert verdict.error.code == "TASK_TIMEOUT"


@law
@given(lives)
def test_a_cancel_is_refused_only_once_the_task_is_terminal(life: Life) -> None:
    for step in life.steps:
        if step.after is None:
            continue
        verdict = decide(step.after, Cancel(), life.now)
        assert isinstance(verdict, Refusal) == step.after.status.is_terminal


@law
@given(lives)
def test_timers_alone_change_nothing_that_anyone_sees(life: Life) -> None:
    for step in life.steps:
        if isinstance(step.verdict, Rescheduled):
            assert step.after == step.before


@law
@given(lives)
def test_only_a_waiting_task_is_claimed_and_each_claim_is_a_new_attempt(life: Life) -> None:
    started = 0
    for step in life.steps:
        if isinstance(step.command, Claim) and isinstance(step.verdict, TaskEvent):
            assert step.before is not None
            assert step.before.status is TaskStatus.WAITING
            started += 1
            assert step.verdict.attempt == started


@law
@given(lives)
def test_what_was_asked_for_never_changes(life: Life) -> None:
    for step in life.steps:
        assert step.after is None or step.after.spec == life.spec
        if isinstance(step.command, Submit) and step.before is not None:
            assert step.verdict == Refusal(RefusalReason.ALREADY_EXISTS)
