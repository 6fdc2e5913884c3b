"""Puts recorded tasks before the workers, in the background, and notes in the record that it is done."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import structlog

from gateway_service.faults import BacklogFullError
from shared.codec import encode_dispatch
from shared.domain.commands import ConfirmDispatch, PostponeDispatch
from shared.domain.task import TaskStatus
from shared.ports import BrokerUnavailableError, StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from shared.domain.task import Task
    from shared.journal import Journal
    from shared.ports import Broker, Record

SETTLE_SECONDS = 1.0
"""How long a confirmation is kept before it is noted. Most tasks are claimed by then, and need no note."""

CATCH_UP_BATCH = 256

log = structlog.get_logger(__name__)


class Dispatcher:
    """Between the record and the broker. A task that it loses is found again by its wake.

    While the broker is away it remembers the tasks that this process took in, at most `most_undispatched`, and
    dispatches them when the broker is back.
    """

    def __init__(self, record: Record, broker: Broker, journal: Journal, *, most_undispatched: int) -> None:
        self._record = record
        self._broker = broker
        self._journal = journal
        self._most = most_undispatched
        self._under_way: set[asyncio.Task[None]] = set()
        self._stranded: dict[str, None] = {}
        self._confirmed: deque[tuple[float, Task]] = deque()

    @property
    def undispatched(self) -> int:
        """How many tasks of this process the broker has not confirmed yet."""
        return len(self._under_way) + len(self._stranded)

    def check_room(self) -> None:
        """Raises BacklogFullError while as many tasks wait for the broker as may."""
        if self.undispatched >= self._most:
            raise BacklogFullError(f"{self.undispatched} tasks wait for RabbitMQ already; submit again later.")

    def offer(self, task: Task) -> None:
        """Dispatch a task that was just recorded, in the background."""
        job = asyncio.create_task(self._offered(task))
        self._under_way.add(job)
        job.add_done_callback(self._under_way.discard)

    async def dispatch(self, task: Task) -> None:
        """Dispatch a waiting task, its payload included, and note it; or note that it must be tried again."""
        try:
            await self._publish(task)
        except BrokerUnavailableError:
            await self._journal.execute(task.id, PostponeDispatch(), known=task)

    async def catch_up(self) -> None:
        """One round of background work: what was stranded is dispatched, what was confirmed is noted."""
        await self._dispatch_stranded()
        await self._note_confirmed(older_than=SETTLE_SECONDS)

    async def close(self) -> None:
        """Finish what is under way, as far as the broker lets it, and note all that was confirmed."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._note_confirmed(older_than=0)

    async def _offered(self, task: Task) -> None:
        try:
            await self._publish(task)
        except BrokerUnavailableError as error:
            if not self._stranded:
                log.warning("dispatch.stranded", error=str(error))
            self._stranded[task.id] = None

    async def _publish(self, task: Task) -> None:
        if not self._broker.is_connected:
            raise BrokerUnavailableError("the broker is not connected")
        await self._broker.dispatch(task.spec.queue, task.spec.priority, encode_dispatch(task))
        self._stranded.pop(task.id, None)
        self._confirmed.append((time.monotonic(), task))

    async def _dispatch_stranded(self) -> None:
        dispatched = True
        while dispatched and self._stranded and self._broker.is_connected:
            batch = list(self._stranded)[:CATCH_UP_BATCH]
            dispatched = all(await asyncio.gather(*(self._retry_stranded(task_id) for task_id in batch)))

    async def _retry_stranded(self, task_id: str) -> bool:
        """Whether the task needs this process no longer."""
        task = await self._record.read(task_id, result=False)
        if task is None or task.status is not TaskStatus.WAITING or task.timers.dispatches:
            self._stranded.pop(task_id, None)
            return True
        try:
            await self._publish(task)
        except BrokerUnavailableError:
            return False
        return True

    async def _note_confirmed(self, *, older_than: float) -> None:
        before = time.monotonic() - older_than
        while self._confirmed and self._confirmed[0][0] <= before:
            batch = [self._confirmed.popleft()[1] for _ in range(min(CATCH_UP_BATCH, len(self._confirmed)))]
            try:
                await asyncio.gather(*(self._note(task) for task in batch))
            except (StoreUnavailableError, StoreFullError) as error:
                # Without the note the task's wake has it dispatched once more, which does no harm.
                log.warning("dispatch.unnoted", tasks=len(batch), error=str(error))

    async def _note(self, task: Task) -> None:
        # A look at the sequence is cheaper than an append that is refused.
        if await self._record.read_sequence(task.id) == task.sequence:
            await self._journal.execute(task.id, ConfirmDispatch(), known=task)
