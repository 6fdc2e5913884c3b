"""What a handler says of its attempts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from shared.domain.submission import NAME, Limits

if TYPE_CHECKING:
    from shared.domain.task import AttemptTerms

LONGEST_SECONDS = 315_360_000


class HandlerError(Exception):
    """A handler is declared in a way that cannot work; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class DeclaredTerms:
    """Over the worker's settings, and under what a submission says. None says nothing; times are seconds."""

    max_attempts: int | None = None
    attempt_timeout: float | None = None
    initial_backoff: float | None = None
    max_backoff: float | None = None
    backoff_multiplier: float | None = None
    jitter: float | None = None

    def over(self, defaults: AttemptTerms) -> AttemptTerms:
        """The terms that hold where a submission says nothing."""
        said: dict[str, int | float | None] = {
            "max_attempts": self.max_attempts,
            "attempt_timeout": _millis(self.attempt_timeout),
            "initial_backoff": _millis(self.initial_backoff),
            "max_backoff": _millis(self.max_backoff),
            "backoff_multiplier": self.backoff_multiplier,
            "jitter": self.jitter,
        }
        changes: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        return replace(defaults, **changes)

    def check(self, where: str) -> None:
        """Raises HandlerError for terms that cannot hold; `where` begins its message."""
        most = Limits().max_attempts
        if self.max_attempts is not None and not 1 <= self.max_attempts <= most:
            raise HandlerError(f"{where}: max_attempts must be between 1 and {most}, is {self.max_attempts}.")
        for name in ("attempt_timeout", "initial_backoff", "max_backoff"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 <= seconds <= LONGEST_SECONDS:
                raise HandlerError(f"{where}: {name} must be between 0 seconds and ten years, is {seconds}.")
        multiplier = self.backoff_multiplier
        if multiplier is not None and not 1 <= multiplier <= 100:
            raise HandlerError(f"{where}: backoff_multiplier must be between 1 and 100, is {multiplier}.")
        if self.jitter is not None and not 0 <= self.jitter <= 1:
            raise HandlerError(f"{where}: jitter must be between 0 and 1, is {self.jitter}.")


NOTHING_DECLARED = DeclaredTerms()

TERMS = tuple(field.name for field in fields(DeclaredTerms))
"""The names of the terms, as they are declared."""


def check_type(type_: str, where: str) -> None:
    """Raises HandlerError for a type that no task can have."""
    longest = Limits().type_length
    if not NAME.fullmatch(type_) or len(type_) > longest:
        raise HandlerError(f"{where}: a type is 1 to {longest} letters, digits, '.', '_', ':' and '-'.")


def _millis(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000)
