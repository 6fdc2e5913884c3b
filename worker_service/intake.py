"""Where deliveries meet free slots.

A delivery is taken only to be run soon. While slots are freed quickly the broker pushes deliveries ahead of them. When
deliveries in hand find no slot, they go back to the broker, since another worker may be idle and the broker closes
channels that sit on messages; from then on each slot that is freed is filled by asking the lines, one after the other.
Then nothing is held, and a high task is never behind a normal one that happened to be pushed first.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from shared.domain.task import TaskPriority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.ports import Consumer, Delivery

WEIGHTS = {TaskPriority.HIGH: 16, TaskPriority.NORMAL: 4, TaskPriority.LOW: 1}
"""Of 21 picks from full lines, so many go to each: low is slow and never starved."""

HOLD_SECONDS = 0.1
"""How long a delivery may wait for a slot before it goes back."""

MOST_PULLS = 50
"""In a second. A worker that fills more slots has its deliveries pushed: that is cheaper, and none waits long."""


class Turns:
    """Weighted turns of the lines: each gains its weight, and the one that is served pays for all."""

    def __init__(self) -> None:
        self._credit = dict.fromkeys(WEIGHTS, 0)

    def order(self, lines: list[TaskPriority]) -> list[TaskPriority]:
        """These lines, the one whose turn it is first."""
        for priority in lines:
            self._credit[priority] += WEIGHTS[priority]
        return sorted(lines, key=lambda priority: self._credit[priority], reverse=True)

    def serve(self, chosen: TaskPriority, lines: list[TaskPriority]) -> None:
        """One of these lines was served; the others have nothing. Who has nothing, or no rival, saves nothing up."""
        self._credit[chosen] -= sum(WEIGHTS[priority] for priority in lines)
        for priority in WEIGHTS:
            if priority not in lines or lines == [chosen]:
                self._credit[priority] = 0

    def forget(self) -> None:
        """No line has anything: the next turns begin anew."""
        self._credit = dict.fromkeys(WEIGHTS, 0)


class Intake:
    """Runs deliveries in a bounded number of slots, the more urgent lines more often."""

    def __init__(self, run: Callable[[Delivery], Awaitable[None]], *, slots: int) -> None:
        """`run` carries out one delivery and raises nothing."""
        self._run = run
        self._slots = slots
        self._waiting: dict[TaskPriority, deque[tuple[float, Delivery]]] = {priority: deque() for priority in WEIGHTS}
        self._turns = Turns()
        self._running: set[asyncio.Task[None]] = set()
        self._consumer: Consumer | None = None
        self._prefetch = 0
        self._hold: asyncio.TimerHandle | None = None
        self._pulling: asyncio.Task[None] | None = None
        self._pulled: deque[float] = deque(maxlen=MOST_PULLS)
        self._returning: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def running(self) -> int:
        """Slots in which something runs."""
        return len(self._running)

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
        if self._stopping:
            self._give_back(delivery)
            return
        self._waiting[delivery.priority].append((time.monotonic(), delivery))
        self._fill()
        self._watch_hold()

    async def stop(self, grace: float) -> None:
        """Take no more, give back what waits, and let what runs go on for at most `grace` seconds."""
        self._stopping = True
        self._let_go()
        if self._pulling is not None:
            await self._pulling
        if self._running:
            await asyncio.wait(self._running, timeout=grace)

    async def join(self, seconds: float) -> None:
        """Wait until nothing runs any more, at most so long."""
        tasks = self._running | self._returning
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    # --- Slots --------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        while self.free > 0 and (delivery := self._pick()) is not None:
            self._start(delivery)

    def _start(self, delivery: Delivery) -> None:
        job = asyncio.ensure_future(self._run(delivery))
        self._running.add(job)
        job.add_done_callback(self._slot_freed)

    def _pick(self) -> Delivery | None:
        lines = [priority for priority, line in self._waiting.items() if line]
        if not lines:
            return None
        chosen = self._turns.order(lines)[0]
        self._turns.serve(chosen, lines)
        return self._waiting[chosen].popleft()[1]

    def _slot_freed(self, job: asyncio.Task[None]) -> None:
        self._running.discard(job)
        if self._stopping:
            return
        self._fill()
        self._watch_hold()
        if self.free == 0:
            return
        if self._prefetch == 0:
            if self._pulling is None:
                self._pulling = asyncio.ensure_future(self._pull())
        elif 2 * self._prefetch <= self.free:
            self._resume()

    # --- Deliveries that are pushed -----------------------------------------------------------------------------

    def _resume(self) -> None:
        """Have deliveries pushed: of each line as many as there are slots for them."""
        if self._consumer is not None and not self._stopping:
            self._prefetch = self.free
            self._consumer.resume(self._prefetch)

    def _watch_hold(self) -> None:
        """Look again when the oldest delivery has waited for too long; stop looking when none waits."""
        oldest = min((line[0][0] for line in self._waiting.values() if line), default=None)
        if oldest is None:
            if self._hold is not None:
                self._hold.cancel()
                self._hold = None
        elif self._hold is None:
            patience = oldest + HOLD_SECONDS - time.monotonic()
            self._hold = asyncio.get_running_loop().call_later(max(patience, 0), self._held_too_long)

    def _held_too_long(self) -> None:
        self._hold = None
        before = time.monotonic() - HOLD_SECONDS
        if any(line and line[0][0] <= before for line in self._waiting.values()):
            self._let_go()
        else:
            # Those that waited then have got their turn meanwhile.
            self._watch_hold()

    def _let_go(self) -> None:
        """Give back what waits, and have nothing pushed any more."""
        if self._consumer is not None:
            self._consumer.pause()
            self._prefetch = 0
        for line in self._waiting.values():
            while line:
                self._give_back(line.popleft()[1])

    def _give_back(self, delivery: Delivery) -> None:
        returning = asyncio.ensure_future(delivery.give_back())
        self._returning.add(returning)
        returning.add_done_callback(self._returning.discard)

    # --- Deliveries that are asked for --------------------------------------------------------------------------

    async def _pull(self) -> None:
        """Fill the free slots one by one. Where the lines are empty or slots are freed fast, have deliveries pushed."""
        try:
            while self.free > 0 and not self._stopping:
                delivery = None if self._pulls_too_often() else await self._pull_one()
                if delivery is None:
                    self._resume()
                    return
                self._pulled.append(time.monotonic())
                if self.free > 0 and not self._stopping:
                    self._start(delivery)
                else:
                    self.take(delivery)
        finally:
            self._pulling = None

    async def _pull_one(self) -> Delivery | None:
        assert self._consumer is not None  # Nothing runs, and nothing is freed, before there is one.
        lines = list(WEIGHTS)
        for priority in self._turns.order(lines):
            delivery = await self._consumer.pull(priority)
            if delivery is not None:
                self._turns.serve(priority, lines)
                return delivery
            lines.remove(priority)
        self._turns.forget()
        return None

    def _pulls_too_often(self) -> bool:
        return len(self._pulled) == MOST_PULLS and time.monotonic() - self._pulled[0] < 1.0
