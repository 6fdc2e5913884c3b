"""Wakes the tasks whose time has come, and removes those that were kept long enough: the only timer there is.

Any number of sweepers may run. They share the partitions out among themselves, and where two of them wake the
same task, for instance while the shares change, the append's sequence check lets one of them through.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from shared.domain.commands import Wake
from shared.domain.decide import dispatch_due
from shared.domain.identity import PARTITION_NAMES
from shared.domain.task import TaskStatus
from shared.journal import Done
from shared.ports import StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from gateway_service.dispatcher import Dispatcher
    from shared.domain.task import Millis
    from shared.journal import Journal
    from shared.ports import Clock, Record

ROUND_SECONDS = 1.0

LOOK_AHEAD: Millis = 2_000
"""How far a round looks ahead: past the next one, which a busy machine may begin late or need long for."""

MEMBER_TTL: Millis = 5_000
GROUP = "sweepers"

MOST_DUE = 256
"""Tasks of one partition that one round takes up. More are due again in the next round."""

MOST_FORGOTTEN = 16
"""Expired tasks of one partition that one round removes: some thousands a second, and no wake waits for them."""

RECALL_BATCH = 256

log = structlog.get_logger(__name__)


class Sweeper:
    """One process's share of looking after all tasks."""

    def __init__(self, record: Record, journal: Journal, dispatcher: Dispatcher, clock: Clock, *, name: str) -> None:
        self._record = record
        self._journal = journal
        self._dispatcher = dispatcher
        self._clock = clock
        self._name = name
        self._waking: dict[str, asyncio.Task[None]] = {}

    async def sweep(self) -> None:
        """One round: find what falls due before the next one, and wake each task on time."""
        members = await self._record.enrol(GROUP, self._name, ttl=MEMBER_TTL)
        share = PARTITION_NAMES[members.index(self._name) :: len(members)]
        now = self._clock.now()
        for task_id, time in await self._record.due(share, until=now + LOOK_AHEAD, limit=MOST_DUE):
            self._plan(task_id, time)
        await self._record.forget(share, until=now, limit=MOST_FORGOTTEN)

    async def recall(self) -> None:
        """The broker lost its messages: dispatch every waiting task again that may start.

        Raises StoreUnavailableError; then it is to be repeated.
        """
        recalled = 0
        for partition in PARTITION_NAMES:
            task_ids = await self._record.unfinished(partition)
            for start in range(0, len(task_ids), RECALL_BATCH):
                batch = task_ids[start : start + RECALL_BATCH]
                recalled += sum(await asyncio.gather(*(self._recall(task_id) for task_id in batch)))
        log.info("sweeper.recalled", tasks=recalled)

    async def close(self) -> None:
        """Let the other sweepers have this one's share."""
        jobs = list(self._waking.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await self._record.leave(GROUP, self._name)

    def _plan(self, task_id: str, time: Millis) -> None:
        if task_id in self._waking:
            return
        job = asyncio.create_task(self._wake_at(task_id, time))
        self._waking[task_id] = job
        job.add_done_callback(lambda _: self._waking.pop(task_id, None))

    async def _wake_at(self, task_id: str, time: Millis) -> None:
        # A timer may fire a little early, and a wake that comes early finds nothing due until the next round.
        while (delay := time - self._clock.now()) > 0:  # noqa: ASYNC110  # It is a time that is waited for.
            await asyncio.sleep(delay / 1_000)
        try:
            await self.wake(task_id)
        except (StoreUnavailableError, StoreFullError) as error:
            # The wake is still in the record: the next round finds it.
            log.warning("sweeper.failed", task_id=task_id, error=str(error))

    async def wake(self, task_id: str) -> None:
        """Carry out whatever is due for one task."""
        outcome = await self._journal.execute(task_id, Wake())
        if isinstance(outcome, Done):
            log.info(
                "task.woken",
                task_id=task_id,
                happened=outcome.events[-1].type.name.lower(),
                code=outcome.task.error.code if outcome.task.error else None,
            )
        if outcome.task is not None and dispatch_due(outcome.task, self._clock.now()):
            await self._dispatch(task_id)

    async def _dispatch(self, task_id: str) -> None:
        task = await self._record.read(task_id, result=False)
        if task is not None and dispatch_due(task, self._clock.now()):
            await self._dispatcher.dispatch(task)

    async def _recall(self, task_id: str) -> bool:
        task = await self._record.read(task_id, result=False)
        if task is None or task.status is not TaskStatus.WAITING or task.not_before > self._clock.now():
            return False
        await self._dispatcher.dispatch(task)
        return True
