"""The port of the record's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from shared.domain.task import Millis


class Clock(Protocol):
    """The record's time. Every lease, wake and event time is read from it, never from the host."""

    def now(self) -> Millis:
        """Milliseconds since the Unix epoch."""
        ...
