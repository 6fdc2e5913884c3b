"""Where deliveries meet free slots.

A delivery is taken only to be run soon. When all slots stay taken, what is in hand goes back to the broker and
the consumer pauses: another worker may be idle, and the broker closes channels that sit on messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from shared.domain.task import TaskPriority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.ports import Consumer, Delivery

WEIGHTS = {TaskPriority.HIGH: 16, TaskPriority.NORMAL: 4, TaskPriority.LOW: 1}
"""Of 21 picks from full lines, so many go to each: low is slow and never starved."""

HOLD_SECONDS = 1.0
"""How long deliveries may wait for a slot before they go back."""


class Intake:
    """Runs deliveries in a bounded number of slots, the more urgent lines more often."""

    def __init__(self, run: Callable[[Delivery], Awaitable[None]], *, slots: int) -> None:
        """`run` carries out one delivery and raises nothing."""
        self._run = run
        self._slots = slots
        self._waiting: dict[TaskPriority, deque[Delivery]] = {priority: deque() for priority in WEIGHTS}
        self._credit = dict.fromkeys(WEIGHTS, 0)
        self._running: set[asyncio.Task[None]] = set()
        self._consumer: Consumer | None = None
        self._prefetch = 0
        self._ended = 0
        self._hold: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def free(self) -> int:
        """Slots in which nothing runs."""
        return self._slots - len(self._running)

    def attach(self, consumer: Consumer) -> None:
        """Begin to take deliveries from `consumer`."""
        self._consumer = consumer
        self._resume()

    def take(self, delivery: Delivery) -> None:
        """A delivery has come."""
        self._waiting[delivery.priority].append(delivery)
        self._fill()
        self._watch_hold()

    async def stop(self, grace: float) -> None:
        """Take no more, give back what waits, and let what runs go on for at most `grace` seconds."""
        self._stopping = True
        self._give_back()
        if self._running:
            await asyncio.wait(self._running, timeout=grace)

    async def join(self, seconds: float) -> None:
        """Wait until nothing runs any more, at most so long."""
        tasks = self._running | self._returning
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _fill(self) -> None:
        while self.free > 0 and not self._stopping and (delivery := self._pick()) is not None:
            job = asyncio.ensure_future(self._run(delivery))
            self._running.add(job)
            job.add_done_callback(self._slot_freed)

    def _pick(self) -> Delivery | None:
        """Weighted turns: each line that waits gains its weight, and the richest pays for the pick."""
        lines = [priority for priority, line in self._waiting.items() if line]
        if not lines:
            return None
        if len(lines) == 1:
            return self._waiting[lines[0]].popleft()
        for priority in lines:
            self._credit[priority] += WEIGHTS[priority]
        chosen = max(lines, key=lambda priority: self._credit[priority])
        self._credit[chosen] -= sum(WEIGHTS[priority] for priority in lines)
        return self._waiting[chosen].popleft()

    def _slot_freed(self, job: asyncio.Task[None]) -> None:
        self._running.discard(job)
        self._ended += 1
        if self._stopping:
            return
        self._fill()
        self._watch_hold()
        if self.free > 0 and (self._prefetch == 0 or 2 * self._prefetch <= min(self.free, self._slots)):
            self._resume()

    def _resume(self) -> None:
        """Take as many deliveries of each line as there are slots for them."""
        if self._consumer is not None:
            self._prefetch = self.free
            self._consumer.resume(self._prefetch)

    def _watch_hold(self) -> None:
        """Start the clock when deliveries wait and no slot is free; stop it when none wait."""
        waiting = any(self._waiting.values())
        if waiting and self._hold is None:
            self._hold = asyncio.get_running_loop().call_later(HOLD_SECONDS, self._held_too_long, self._ended)
        elif not waiting and self._hold is not None:
            self._hold.cancel()
            self._hold = None

    def _held_too_long(self, ended_before: int) -> None:
        self._hold = None
        if self._ended == ended_before:
            self._give_back()
        else:
            # Slots were freed meanwhile: deliveries are getting their turn.
            self._watch_hold()

    def _give_back(self) -> None:
        if self._consumer is not None:
            self._consumer.pause()
            self._prefetch = 0
        for line in self._waiting.values():
            while line:
                returning = asyncio.ensure_future(line.popleft().give_back())
                self._returning.add(returning)
                returning.add_done_callback(self._returning.discard)
