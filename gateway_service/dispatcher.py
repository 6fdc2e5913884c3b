"""Puts recorded tasks before the workers, in the background, and notes in the record that it is done."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import structlog

from shared.codec import encode_dispatch
from shared.domain.commands import ConfirmDispatch, PostponeDispatch
from shared.domain.task import TaskStatus
from shared.metrics import UNDISPATCHED
from shared.ports import BrokerUnavailableError, StoreFullError, StoreUnavailableError, TaskMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        self._jobs: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._stranded: dict[str, None] = {}
        self._confirmed: deque[tuple[float, Task]] = deque()

    @property
    def undispatched(self) -> int:
        """How many tasks of this process the broker has not confirmed yet."""
        return self._under_way + len(self._stranded)

    @property
    def room(self) -> int:
        """How many more tasks may be taken in before the broker has confirmed some: 0 or more."""
        return max(self._most - self.undispatched, 0)

    def offer(self, tasks: Sequence[Task]) -> None:
        """Dispatch tasks that were just recorded, in the background."""
        if not tasks:
            return
        self._under_way += len(tasks)
        job = asyncio.create_task(self._offered(tasks))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def dispatch(self, task: Task) -> None:
        """Dispatch a waiting task, its payload included, and note it; or note that it must be tried again."""
        (problem,) = await self._publish([task])
        if problem is not None:
            await self._journal.execute(task.id, PostponeDispatch(), known=task)

    async def catch_up(self) -> None:
        """One round of background work: what was stranded is dispatched, what was confirmed is noted."""
        await self._dispatch_stranded()
        await self._note_confirmed(older_than=SETTLE_SECONDS)
        UNDISPATCHED.set(self.undispatched)

    async def close(self) -> None:
        """Finish what is under way, as far as the broker lets it, and note all that was confirmed."""
        if self._jobs:
            await asyncio.wait(self._jobs)
        await self._note_confirmed(older_than=0)

    async def _offered(self, tasks: Sequence[Task]) -> None:
        try:
            problems = await self._publish(tasks)
        finally:
            self._under_way -= len(tasks)
        for task, problem in zip(tasks, problems, strict=True):
            if problem is not None:
                if not self._stranded:
                    log.warning("dispatch.stranded", error=str(problem))
                self._stranded[task.id] = None

    async def _publish(self, tasks: Sequence[Task]) -> list[BrokerUnavailableError | None]:
        """Put tasks before the workers. In the place of each that the broker did not take stands why."""
        if not self._broker.is_connected:
            return [BrokerUnavailableError("the broker is not connected")] * len(tasks)
        problems = await self._broker.dispatch_all(
            [TaskMessage(task.spec.queue, task.spec.priority, encode_dispatch(task)) for task in tasks]
        )
        now = time.monotonic()
        for task, problem in zip(tasks, problems, strict=True):
            if problem is None:
                self._stranded.pop(task.id, None)
                self._confirmed.append((now, task))
        return problems

    async def _dispatch_stranded(self) -> None:
        problems: list[BrokerUnavailableError | None] = []
        while self._stranded and self._broker.is_connected and not any(problems):
            batch = list(self._stranded)[:CATCH_UP_BATCH]
            waiting = []
            for task_id, task in zip(batch, await self._record.read_many(batch, payload=True), strict=True):
                if task is None or task.status is not TaskStatus.WAITING or task.timers.dispatches:
                    self._stranded.pop(task_id, None)  # It needs this process no longer.
                else:
                    waiting.append(task)
            problems = await self._publish(waiting)

    async def _note_confirmed(self, *, older_than: float) -> None:
        before = time.monotonic() - older_than
        while self._confirmed and self._confirmed[0][0] <= before:
            batch = [self._confirmed.popleft()[1] for _ in range(min(CATCH_UP_BATCH, len(self._confirmed)))]
            try:
                await self._journal.retime_all(batch, ConfirmDispatch())
            except (StoreUnavailableError, StoreFullError) as error:
                # Without the note a task's wake has it dispatched once more, which does no harm.
                log.warning("dispatch.unnoted", tasks=len(batch), error=str(error))
