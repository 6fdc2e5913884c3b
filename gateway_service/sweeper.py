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
    from collections.abc import Sequence

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

MOST_FORGOTTEN = 4
"""Expired tasks of one partition that are removed together, so that they hold up nothing else for long."""

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
        self._share: Sequence[str] = PARTITION_NAMES

    async def sweep(self) -> None:
        """One round: find what falls due before the next one, and wake each task on time."""
        members = await self._record.enrol(GROUP, self._name, ttl=MEMBER_TTL)
        self._share = PARTITION_NAMES[members.index(self._name) :: len(members)]
        until = self._clock.now() + LOOK_AHEAD
        for task_id, time in await self._record.due(self._share, until=until, limit=MOST_DUE):
            self._plan(task_id, time)

    async def forget_expired(self) -> None:
        """Remove all that was kept long enough, a little at a time.

        It goes on in a record that is full, where nobody can enrol: there it is what makes room.
        """
        while await self._record.forget(self._share, until=self._clock.now(), limit=MOST_FORGOTTEN):
            pass

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
