"""One run of a handler: an attempt that this worker has claimed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from shared.domain.commands import ReportProgress
from shared.journal import Refused
from shared.ports import StoreFullError, StoreUnavailableError
from worker_service.context import Interruption, TaskContext

if TYPE_CHECKING:
    from shared.domain.commands import Command
    from shared.domain.task import Millis, Task, TaskProgress
    from shared.journal import Done, Journal

PROGRESS_SECONDS = 0.05
"""Progress of one task is sent at most this often: the first at once, then always the latest."""

RECORD_PAUSE_SECONDS = 0.1
LONGEST_RECORD_PAUSE_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Run:
    """The attempt, its context, and its place in the record. All of its writes go through here, one by one."""

    def __init__(self, task: Task, journal: Journal, *, lease: Millis) -> None:
        self.task = task
        self.context = TaskContext(task, report=self._report, loop=asyncio.get_running_loop())
        self._journal = journal
        self._lease = lease
        self._handler: asyncio.Future[Any] | None = None
        self._latest: TaskProgress | None = None
        self._sender: asyncio.Task[None] | None = None
        self._finishing = asyncio.Event()

    @property
    def attempt(self) -> int:
        """The number of the attempt: its fencing token."""
        return self.task.attempt

    def runs_in(self, handler: asyncio.Future[Any]) -> None:
        """The runner's call, which an interruption cancels."""
        self._handler = handler

    def interrupt(self, why: Interruption) -> None:
        """Tell the handler to stop; only the first reason counts."""
        if self.context.interruption is None:
            self.context.interrupt(why)
            if self._handler is not None:
                self._handler.cancel()

    async def finish(self, outcome: Command) -> Done | Refused:
        """Record the outcome, and before it the last progress that was not sent.

        While the record is away it tries again, for as long as it takes: nobody else can end the attempt then.
        """
        self._finishing.set()
        if self._sender is not None:
            await self._sender
        pause = RECORD_PAUSE_SECONDS
        while True:
            try:
                return await self._journal.execute(self.task.id, *self._unsent_progress(), outcome, known=self.task)
            except (StoreUnavailableError, StoreFullError) as error:
                log.warning("run.outcome_waits", task_id=self.task.id, attempt=self.attempt, error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_RECORD_PAUSE_SECONDS)

    def _unsent_progress(self) -> tuple[Command, ...]:
        if self._latest is None:
            return ()
        return (ReportProgress(attempt=self.attempt, progress=self._latest, lease=self._lease),)

    def _report(self, progress: TaskProgress) -> None:
        self._latest = progress
        if self._sender is None and not self._finishing.is_set():
            self._sender = asyncio.create_task(self._send_progress())

    async def _send_progress(self) -> None:
        """Send the latest progress until there is no newer one."""
        try:
            while self._latest is not None and not self._finishing.is_set():
                progress, self._latest = self._latest, None
                await self._send(progress)
                # The outcome does not wait for the pause: it takes unsent progress along.
                try:
                    async with asyncio.timeout(PROGRESS_SECONDS):
                        await self._finishing.wait()
                except TimeoutError:
                    continue
        finally:
            self._sender = None

    async def _send(self, progress: TaskProgress) -> None:
        command = ReportProgress(attempt=self.attempt, progress=progress, lease=self._lease)
        try:
            answer = await self._journal.execute(self.task.id, command, known=self.task)
        except (StoreUnavailableError, StoreFullError) as error:
            # Progress is worth nothing later; the outcome will be recorded.
            log.warning("run.progress_lost", task_id=self.task.id, error=str(error))
            return
        if isinstance(answer, Refused):
            self.interrupt(Interruption.ENDED)
        else:
            self.task = answer.task
