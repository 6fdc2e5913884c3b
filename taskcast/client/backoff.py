"""How long to rest before the next try."""

from __future__ import annotations

import random

_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 2.0

_random = random.SystemRandom()


class Backoff:
    """Pauses that double from a tenth of a second to 2 s, each shortened at random by up to a half.

    The randomness keeps clients that lost one gateway from returning to the next all at once.
    """

    def __init__(self) -> None:
        self._ceiling = _FIRST_SECONDS

    def reset(self) -> None:
        """Something worked: begin anew with short pauses."""
        self._ceiling = _FIRST_SECONDS

    def pause(self, asked: float | None) -> float:
        """Seconds until the next try; never less than the server `asked` for."""
        pause = _random.uniform(self._ceiling / 2, self._ceiling)
        self._ceiling = min(self._ceiling * 2, _LONGEST_SECONDS)
        return pause if asked is None else max(pause, asked * _random.uniform(1.0, 1.2))
