"""The circuit breaker: an endpoint that fails again and again is left alone for a while, then asked once.

Like all rules it is pure: the state is a value, the time an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.domain.task import Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerTerms:
    """After `threshold` failures in a row it opens, for `first_pause`, then twice as long up to `longest_pause`."""

    threshold: int = 5
    first_pause: Millis = 5_000
    longest_pause: Millis = 300_000
    probe_limit: Millis = 30_000
    """How long a probe may take before another is let through: longer than a try may take."""
    probe_look: Millis = 1_000
    """While a probe is out the others ask again after so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """How an endpoint has been doing. `open_until` 0: closed; in the past: half open, and the next try is a probe."""

    failures: int = 0
    openings: int = 0
    open_until: Millis = 0
    probe_until: Millis = 0


CLOSED = Breaker()


def admit(breaker: Breaker, now: Millis, terms: BreakerTerms) -> tuple[Breaker, Millis | None]:
    """Whether a try may go to the endpoint: None if so, else when to ask again. And the breaker after that.

    The try that finds it half open is the probe: the breaker stays shut for all others until the probe has told,
    or has taken longer than it may.
    """
    if breaker.open_until > now:
        return breaker, breaker.open_until
    if breaker.probe_until > now:
        return breaker, min(breaker.probe_until, now + terms.probe_look)
    if breaker.open_until:
        return replace(breaker, probe_until=now + terms.probe_limit), None
    return breaker, None


def after_success(_: Breaker) -> Breaker:
    """The endpoint accepted: all is forgiven."""
    return CLOSED


def after_failure(breaker: Breaker, now: Millis, terms: BreakerTerms, *, asked: Millis = 0) -> Breaker:
    """The endpoint failed; `asked` is how long it wants to be left alone, if it said so."""
    failures = breaker.failures + 1
    until = now + asked if asked else 0
    if breaker.open_until > now:
        # A try that was under way when it opened tells nothing new.
        return replace(breaker, failures=failures, open_until=max(breaker.open_until, until))
    if failures < terms.threshold:
        return replace(breaker, failures=failures, open_until=until, probe_until=0)
    pause = min(terms.first_pause << min(breaker.openings, 20), terms.longest_pause)
    return Breaker(failures=failures, openings=breaker.openings + 1, open_until=max(now + pause, until))
