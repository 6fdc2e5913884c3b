from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.commands import Cancel, HandBack, Wake
from shared.domain.decide import DISPATCH_GRACE, decide
from shared.domain.evolve import ATTEMPTS_KEPT, SequenceError, evolve
from shared.domain.submission import Limits
from shared.domain.task import RetryPolicy, TaskEvent, TaskSpec, TaskStatus
from tests.unit.domain.lives import LEASE, START, claim, processing, submit, waiting

SPEC = TaskSpec(type="report.render")


def submitted() -> TaskEvent:
    verdict = decide(None, submit(SPEC), START)
    assert isinstance(verdict, TaskEvent)
    return verdict


@pytest.mark.parametrize("sequence", [0, 2, -1])
def test_a_life_begins_with_event_one(sequence: int) -> None:
    with pytest.raises(SequenceError, match="expected 1"):
        evolve(None, replace(submitted(), sequence=sequence))


def test_a_first_event_that_says_nothing_of_what_was_asked_is_refused() -> None:
    with pytest.raises(SequenceError, match="nothing of what was asked for"):
        evolve(None, replace(submitted(), spec=None))


@pytest.mark.parametrize("sequence", [1, 2, 4])
def test_an_event_that_does_not_follow_the_last_is_refused(sequence: int) -> None:
    task = processing(SPEC).task
    assert task is not None
    verdict = decide(task, Cancel(), START)
    assert isinstance(verdict, TaskEvent)
    with pytest.raises(SequenceError, match="expected 3"):
        evolve(task, replace(verdict, sequence=sequence))


def test_another_task_s_event_is_refused() -> None:
    task = waiting(SPEC).task
    verdict = decide(task, Cancel(), START)
    assert isinstance(verdict, TaskEvent)
    with pytest.raises(SequenceError, match="does not follow"):
        evolve(task, replace(verdict, task_id="another"))


def test_a_task_of_the_past_is_due_like_one_of_now() -> None:
    late = waiting(replace(SPEC, schedule_time=START - 1_000)).task
    assert late is not None
    assert late.timers.dispatch_at == START + DISPATCH_GRACE


def test_only_the_running_attempt_is_closed_when_the_task_ends() -> None:
    life = processing(SPEC, attempt=2)
    task = life.asked(Cancel())
    assert [attempt.outcome for attempt in task.attempts] == [TaskStatus.WAITING, TaskStatus.CANCELLED]
    waiting_again = processing(SPEC)
    waiting_again.asked(Wake(), after=LEASE)
    task = waiting_again.asked(Cancel())
    assert [attempt.outcome for attempt in task.attempts] == [TaskStatus.WAITING]


def test_the_list_of_attempts_stays_short_and_keeps_the_latest() -> None:
    life = processing(replace(SPEC, retry_policy=RetryPolicy(max_attempts=2)))
    for attempt in range(1, ATTEMPTS_KEPT + 50):
        life.asked(HandBack(attempt=attempt), claim())
    assert life.task is not None
    numbers = [attempt.number for attempt in life.task.attempts]
    assert numbers == list(range(51, ATTEMPTS_KEPT + 51))


def test_no_attempt_that_counts_can_be_forgotten() -> None:
    assert Limits().max_attempts <= ATTEMPTS_KEPT
