"""What a watch sends."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.domain.task import Task, TaskEvent


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing has happened since event `sequence`, and the watch is alive. A watch of many tasks says 0."""

    sequence: int


Update = Task | TaskEvent | Heartbeat

Send = Callable[[Update], Awaitable[None]]
"""Hands one update to the client; waits as long as the client does not read."""


class Outlet:
    """Where one watch sends its updates; it knows for how long it has sent none."""

    def __init__(self, send: Send, *, heartbeat: float) -> None:
        """`heartbeat`: seconds of silence after which the client wants to hear that the watch is alive."""
        self._send = send
        self._heartbeat = heartbeat
        self._sent_at = time.monotonic()

    @property
    def silence_left(self) -> float:
        """Seconds until a heartbeat is due; 0 once it is."""
        return max(self._sent_at + self._heartbeat - time.monotonic(), 0.0)

    async def send(self, update: Update) -> None:
        """Send it, and begin to count anew."""
        await self._send(update)
        self._sent_at = time.monotonic()
