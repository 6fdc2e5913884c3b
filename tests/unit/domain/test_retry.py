from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.retry import attempts_used, backoff, lost_leases, settle_terms
from shared.domain.task import Attempt, AttemptTerms, RetryPolicy, Task, TaskError, TaskSpec
from tests.unit.domain.strategies import task_ids, terms

HANDED_BACK = TaskError(code="WORKER_SHUTDOWN", message="")
LOST = TaskError(code="LEASE_LOST", message="")


def task_with(*errors: TaskError | None, task_id: str = "t") -> Task:
    attempts = tuple(
        Attempt(number=number, worker="w", start_time=0, error=error) for number, error in enumerate(errors, 1)
    )
    return Task(id=task_id, tenant="", spec=TaskSpec(type="x"), attempt=len(attempts), attempts=attempts)


# --- Which terms hold --------------------------------------------------------------------------------------------

ASKED = {
    "max_attempts": (RetryPolicy(max_attempts=9), 9),
    "initial_backoff": (RetryPolicy(initial_backoff=7), 7),
    "max_backoff": (RetryPolicy(max_backoff=8), 8),
    "backoff_multiplier": (RetryPolicy(backoff_multiplier=1.5), 1.5),
    "jitter": (RetryPolicy(jitter=0.7), 0.7),
}


def test_without_a_word_of_the_client_the_handler_s_terms_hold() -> None:
    handler = AttemptTerms(
        max_attempts=5, initial_backoff=1, max_backoff=2, backoff_multiplier=3.0, jitter=0.5, attempt_timeout=4
    )
    assert settle_terms(TaskSpec(type="x"), handler) == handler


def test_without_a_word_of_anyone_the_documented_defaults_hold() -> None:
    assert settle_terms(TaskSpec(type="x")) == AttemptTerms(
        max_attempts=3,
        initial_backoff=1_000,
        max_backoff=300_000,
        backoff_multiplier=2.0,
        jitter=0.2,
        attempt_timeout=60_000,
    )


@pytest.mark.parametrize("field", ASKED)
@given(handler=terms)
@settings(max_examples=20, deadline=None)
def test_the_client_s_word_goes_before_the_handler_s_field_by_field(field: str, handler: AttemptTerms) -> None:
    policy, asked = ASKED[field]
    settled = settle_terms(TaskSpec(type="x", retry_policy=policy), handler)
    for other in fields(AttemptTerms):
        expected = asked if other.name == field else getattr(handler, other.name)
        assert getattr(settled, other.name) == expected


@pytest.mark.parametrize("asked", [0, 1, 5_000])
def test_an_attempt_timeout_of_zero_is_a_word_too(asked: int) -> None:
    settled = settle_terms(TaskSpec(type="x", attempt_timeout=asked), AttemptTerms(attempt_timeout=99))
    assert settled.attempt_timeout == asked


def test_a_back_off_of_zero_is_a_word_too() -> None:
    policy = RetryPolicy(initial_backoff=0, max_backoff=0)
    settled = settle_terms(TaskSpec(type="x", retry_policy=policy), AttemptTerms())
    assert (settled.initial_backoff, settled.max_backoff) == (0, 0)


def test_a_jitter_of_zero_is_a_word_too() -> None:
    assert settle_terms(TaskSpec(type="x", retry_policy=RetryPolicy(jitter=0.0)), AttemptTerms(jitter=1.0)).jitter == 0


# --- How many attempts count -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "used"),
    [
        ((), 0),
        ((None,), 1),
        ((LOST, None), 2),
        ((HANDED_BACK, None), 1),
        ((HANDED_BACK, LOST, HANDED_BACK), 1),
    ],
)
def test_every_attempt_counts_but_those_that_were_handed_back(errors: tuple[TaskError | None, ...], used: int) -> None:
    assert attempts_used(task_with(*errors)) == used


# --- How long to wait --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 1_000), (2, 2_000), (3, 4_000), (9, 256_000), (10, 300_000), (99, 300_000)]
)
@pytest.mark.parametrize("jitter", [0.2, 0.5, 1.0])
def test_the_wait_doubles_up_to_its_limit_and_is_shortened_by_the_jitter_at_most(
    attempt: int, longest: int, jitter: float
) -> None:
    terms = AttemptTerms(jitter=jitter)
    waits = [backoff(task_with(*[LOST] * (attempt - 1), None, task_id=f"task-{i}"), terms) for i in range(200)]
    assert longest * (1 - jitter) <= min(waits)
    assert max(waits) <= longest
    assert max(waits) - min(waits) > longest * jitter / 2, "tasks that failed together must not return together"


def test_without_jitter_the_wait_is_what_the_policy_says() -> None:
    terms = AttemptTerms(jitter=0.0)
    assert [backoff(task_with(*[LOST] * n, None), terms) for n in range(4)] == [1_000, 2_000, 4_000, 8_000]


def test_the_same_task_in_the_same_state_always_waits_the_same_time() -> None:
    assert len({backoff(task_with(LOST, None), AttemptTerms()) for _ in range(10)}) == 1


def test_two_attempts_of_one_task_draw_different_jitter() -> None:
    flat = AttemptTerms(backoff_multiplier=1.0, initial_backoff=1_000_000, max_backoff=1_000_000)
    assert len({backoff(task_with(*[LOST] * n, None), flat) for n in range(10)}) > 5


def test_attempts_handed_back_do_not_lengthen_the_wait() -> None:
    plain = replace(task_with(None), attempt=3)
    assert backoff(task_with(HANDED_BACK, HANDED_BACK, None), AttemptTerms()) == backoff(plain, AttemptTerms())


@given(task_id=task_ids, before=st.integers(0, 99), terms=terms)
@settings(max_examples=50, deadline=None)
def test_no_terms_that_may_be_asked_for_make_a_wait_negative_or_longer_than_the_longest(
    task_id: str, before: int, terms: AttemptTerms
) -> None:
    wait = backoff(task_with(*[LOST] * before, None, task_id=task_id), terms)
    assert isinstance(wait, int)
    assert 0 <= wait <= terms.max_backoff


def test_lost_leases_are_counted_among_all_other_ends() -> None:
    codes = ["LEASE_LOST", "WORKER_SHUTDOWN", "LEASE_LOST", "UNHANDLED_EXCEPTION", None]
    attempts = tuple(
        Attempt(number=number, worker="w", start_time=0, error=TaskError(code=code, message="") if code else None)
        for number, code in enumerate(codes, 1)
    )
    task = Task(id="0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e", tenant="t", spec=TaskSpec(type="x"), attempts=attempts)
    assert lost_leases(task) == 2
