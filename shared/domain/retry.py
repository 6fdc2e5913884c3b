"""The arithmetic of retries: which terms hold, how many attempts count, how long to wait."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from shared.domain.task import AttemptTerms

if TYPE_CHECKING:
    from shared.domain.task import Millis, Task, TaskSpec

_DEFAULTS = AttemptTerms()

NOT_COUNTED = frozenset({"WORKER_SHUTDOWN"})
"""Ends of attempts that are nobody's failure and use up no retry."""


def settle_terms(spec: TaskSpec, defaults: AttemptTerms = _DEFAULTS) -> AttemptTerms:
    """What the client asked for, over the handler's `defaults`, field by field."""
    asked = spec.retry_policy
    return AttemptTerms(
        max_attempts=defaults.max_attempts if asked.max_attempts is None else asked.max_attempts,
        initial_backoff=defaults.initial_backoff if asked.initial_backoff is None else asked.initial_backoff,
        max_backoff=defaults.max_backoff if asked.max_backoff is None else asked.max_backoff,
        backoff_multiplier=(
            defaults.backoff_multiplier if asked.backoff_multiplier is None else asked.backoff_multiplier
        ),
        jitter=defaults.jitter if asked.jitter is None else asked.jitter,
        attempt_timeout=defaults.attempt_timeout if spec.attempt_timeout is None else spec.attempt_timeout,
    )


def attempts_used(task: Task) -> int:
    """How many of the allowed attempts are used up, the running one included."""
    return sum(1 for a in task.attempts if a.error is None or a.error.code not in NOT_COUNTED)


def lost_leases(task: Task) -> int:
    """How many attempts ended because their worker was no longer heard of. The task may be what ended the worker."""
    return sum(1 for a in task.attempts if a.error is not None and a.error.code == "LEASE_LOST")


def backoff(task: Task, terms: AttemptTerms) -> Millis:
    """How long to wait after the attempt that just failed: initial · multiplier^(n-1), at most `max_backoff`.

    It is shortened by a share of up to `jitter`. That is drawn from the task's id and attempt, so that the rules stay
    free of chance: the same task in the same state always waits the same time.
    """
    exponent = max(attempts_used(task) - 1, 0)
    try:
        wait = min(terms.initial_backoff * terms.backoff_multiplier**exponent, terms.max_backoff)
    except OverflowError:
        wait = terms.max_backoff
    draw = zlib.crc32(f"{task.id}/{task.attempt}".encode()) / 0xFFFFFFFF
    return round(wait * (1 - terms.jitter * draw))
