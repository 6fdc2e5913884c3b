"""Hypothesis strategies for the values of the domain, and for whole lives of tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

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
    Succeed,
    Wake,
)
from shared.domain.decide import next_wake
from shared.domain.submission import LONGEST_DURATION
from shared.domain.task import (
    Attempt,
    AttemptTerms,
    EventType,
    RetryPolicy,
    Task,
    TaskError,
    TaskEvent,
    TaskPriority,
    TaskProgress,
    TaskSpec,
    TaskStatus,
    Webhook,
)
from shared.json_values import encode_json, encode_json_object
from tests.unit.domain.lives import RESULT, START, Life, claim, submit

if TYPE_CHECKING:
    from shared.domain.commands import Command
    from shared.domain.task import Millis

texts = st.text(max_size=20)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,15}", fullmatch=True)
task_ids = st.uuids().map(str)
times = st.integers(0, START + 2 * LONGEST_DURATION)
durations = st.integers(0, LONGEST_DURATION)

# A whole number below 2**53 comes back as int, so as a float it would not come back as itself.
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not number.is_integer() or abs(number) > 2**53
)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
values = json_values.map(lambda value: encode_json(value, "value"))
details = st.just(b"") | st.dictionaries(texts, json_values, max_size=4).map(lambda d: encode_json_object(d, "detail"))

errors = st.builds(TaskError, code=texts, message=texts)
progresses = st.builds(
    TaskProgress,
    percent=st.floats(0, 100),
    message=texts,
    completed=st.integers(0, 2**63 - 1),
    total=st.integers(0, 2**63 - 1),
    detail=details,
)
terms = st.builds(
    AttemptTerms,
    max_attempts=st.integers(1, 100),
    initial_backoff=durations,
    max_backoff=durations,
    backoff_multiplier=st.floats(1, 100),
    jitter=st.floats(0, 1),
    attempt_timeout=durations,
)
policies = st.builds(
    RetryPolicy,
    max_attempts=st.none() | st.integers(1, 100),
    initial_backoff=st.none() | durations,
    max_backoff=st.none() | durations,
    backoff_multiplier=st.none() | st.floats(1, 100),
    jitter=st.none() | st.floats(0, 1),
)
webhooks = st.builds(
    Webhook,
    url=texts,
    statuses=st.lists(st.sampled_from(TaskStatus), max_size=3).map(tuple),
    headers=st.dictionaries(texts, texts, max_size=3),
)
specs = st.builds(
    TaskSpec,
    type=names,
    payload=st.none() | values,
    labels=st.dictionaries(names, texts, max_size=3),
    queue=names,
    priority=st.sampled_from(TaskPriority),
    schedule_time=st.none() | times,
    timeout=st.none() | durations,
    attempt_timeout=st.none() | durations,
    estimated_duration=st.none() | durations,
    retry_policy=policies,
    webhooks=st.lists(webhooks, max_size=2).map(tuple),
    retention=durations,
)

# --- Lives -----------------------------------------------------------------------------------------------------

# Short times, so that a life of some tens of commands meets all of its limits.
_short = st.integers(0, 5_000)
_short_specs = st.builds(
    TaskSpec,
    type=st.just("report.render"),
    schedule_time=st.none() | st.integers(START - 5_000, START + 5_000),
    timeout=st.none() | st.integers(0, 30_000),
    attempt_timeout=st.none() | _short,
    retry_policy=st.builds(
        RetryPolicy,
        max_attempts=st.none() | st.integers(1, 4),
        initial_backoff=st.none() | _short,
        max_backoff=st.none() | _short,
        backoff_multiplier=st.none() | st.floats(1, 4),
        jitter=st.none() | st.floats(0, 1),
    ),
    retention=_short,
)

# Lives are drawn as bytes, three for a step: to draw every step's parts one by one takes ten times as long.
_stories = st.binary(min_size=3 * 8, max_size=3 * 40)

# A word of an attempt names the running one most of the time, and now and then an older or a future one.
_OFFSETS = (0, 0, 0, 0, 0, -1, -2, 1)


def _command(life: Life, choice: int, detail: int) -> Command:
    """One of all commands, mostly of those that do not end a life, in words that fit the life so far."""
    attempt = (life.task.attempt if life.task else 0) + _OFFSETS[detail % 8]
    amount = detail * 20
    error = TaskError(code="BROKEN", message=f"It broke with {detail}.")
    commands: tuple[Command, ...] = (
        claim(),
        Wake(),
        ReportProgress(attempt=attempt, progress=TaskProgress(percent=detail / 3), lease=amount),
        Retry(attempt=attempt, error=error, after=None if detail % 2 else amount),
        HandBack(attempt=attempt),
        RenewLease(attempt=attempt, lease=amount),
        ConfirmDispatch(),
        PostponeDispatch(),
        submit(life.spec),
        claim(worker="worker-2"),
        Wake(),
    )
    last_words: tuple[Command, ...] = (
        Succeed(attempt=attempt, result=RESULT),
        Fail(attempt=attempt, error=error),
        Abort(attempt=attempt, error=error),
        Cancel(reason=f"reason {detail}"),
    )
    # An eighth of all choices ends a life; the rest goes round the others.
    return last_words[choice % 11 // 3] if choice >= 224 else commands[choice % len(commands)]


def _clock_move(life: Life, move: int) -> Millis:
    """On by up to some seconds, back by up to 160 ms, or right to the next wake."""
    wake = next_wake(life.task) if life.task else None
    if move % 4 == 3 and wake is not None:
        return min(max(wake - life.now, 0), 60_000)
    if move % 4 == 2:
        return -move
    return move // 4 * 50 if move % 4 == 1 else 0


def _lived(spec: TaskSpec, story: bytes) -> Life:
    life = Life(spec)
    if story[0] < 250:
        life.asked(submit(spec))
    for choice, detail, move in zip(story[::3], story[1::3], story[2::3], strict=False):
        life.ask(_command(life, choice, detail), after=_clock_move(life, move))
    return life


lives = st.builds(_lived, _short_specs, _stories)
"""A task, and eight to forty commands in any order, with the clock going on, standing still or stepping back."""


def settled(spec: TaskSpec, attempt_terms: AttemptTerms) -> TaskSpec:
    """The spec as it is shown from the first attempt on: with the terms that hold in place of what was asked."""
    return replace(
        spec,
        attempt_timeout=attempt_terms.attempt_timeout,
        retry_policy=RetryPolicy(
            max_attempts=attempt_terms.max_attempts,
            initial_backoff=attempt_terms.initial_backoff,
            max_backoff=attempt_terms.max_backoff,
            backoff_multiplier=attempt_terms.backoff_multiplier,
            jitter=attempt_terms.jitter,
        ),
    )


_small_ints = st.integers(1, 2**31 - 1)
_ended_attempts = st.builds(
    Attempt,
    number=_small_ints,
    worker=texts,
    start_time=times,
    end_time=st.none() | times,
    outcome=st.none() | st.sampled_from(TaskStatus),
    error=st.none() | errors,
)
_untouched_tasks = st.builds(
    Task,
    id=task_ids,
    tenant=texts,
    spec=specs,
    retry_of=texts,
    sequence=st.just(1),
    create_time=times,
    update_time=times,
)
_tried_tasks = st.builds(
    lambda task, terms: replace(task, spec=settled(task.spec, terms), terms=terms),
    st.builds(
        Task,
        id=task_ids,
        tenant=texts,
        spec=specs,
        retry_of=texts,
        status=st.sampled_from(TaskStatus),
        sequence=st.integers(1, 2**63 - 1),
        attempt=_small_ints,
        attempts=st.lists(_ended_attempts, max_size=3).map(tuple),
        progress=st.none() | progresses,
        result=st.none() | values,
        error=st.none() | errors,
        cancel_reason=texts,
        create_time=times,
        update_time=times,
        start_time=st.none() | times,
        end_time=st.none() | times,
        next_attempt_time=st.none() | times,
        expire_time=st.none() | times,
    ),
    terms,
)
tasks = _untouched_tasks | _tried_tasks
"""Any task that the public message can tell in full: once it was tried, its spec shows the terms that hold."""

events = st.builds(
    TaskEvent,
    task_id=task_ids,
    sequence=st.integers(1, 2**63 - 1),
    type=st.sampled_from(EventType),
    status=st.sampled_from(TaskStatus),
    attempt=st.integers(0, 2**31 - 1),
    time=times,
    progress=st.none() | progresses,
    result=st.none() | values,
    error=st.none() | errors,
    next_attempt_time=st.none() | times,
    worker=texts,
    cancel_reason=texts,
)
"""Any event, as far as it is public."""
