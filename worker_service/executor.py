"""One delivery from beginning to end: claim, run, record."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog
from google.protobuf.message import DecodeError

from shared.codec import decode_dispatch
from shared.domain.commands import Claim, HandBack
from shared.domain.retry import lost_leases
from shared.failpoints import failpoint
from shared.journal import Refused
from shared.metrics import ATTEMPT_SECONDS, RUNNING, WAIT_SECONDS
from shared.ports import StoreFullError, StoreUnavailableError
from worker_service import outcome
from worker_service.context import Interruption
from worker_service.registry import Place, place_of
from worker_service.run import Run
from worker_service.runners.call import STOPPED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.task import AttemptTerms, Millis, Task
    from shared.journal import Journal
    from shared.ports import Delivery
    from worker_service.lease import LeaseKeeper
    from worker_service.outcome import Outcome
    from worker_service.registry import AnyHandler
    from worker_service.runners.runner import Runner

CLAIM_PAUSE_SECONDS = 1.0
CLAIM_TRIES = 120
"""While the record is away a delivery is kept, and given back only after minutes: RabbitMQ counts how often a message
comes back, and since 4.0 drops it at the twentieth time."""

LOSSES_BEFORE_QUARANTINE = 2
"""A task that kills its worker takes the others there along. After so many losses all of them run in child processes:
that one then kills its own alone. Once may be chance, and a process for each task of a dead worker would be dear."""

IN_THE_WORKER = (Place.LOOP, Place.THREAD)

log = structlog.get_logger(__name__)


class Executor:
    """Runs deliveries. What has been claimed is acknowledged at once: from then on the lease stands for it."""

    def __init__(
        self,
        handlers: Mapping[str, AnyHandler],
        runners: Mapping[Place, Runner[Any]],
        journal: Journal,
        leases: LeaseKeeper,
        *,
        worker: str,
        terms: AttemptTerms,
        lease: Millis,
        quarantine: Runner[Any] | None = None,
    ) -> None:
        """`quarantine` runs what has lost its worker LOSSES_BEFORE_QUARANTINE times, wherever its handler belongs."""
        self._handlers = handlers
        self._runners = runners
        self._journal = journal
        self._leases = leases
        self._worker = worker
        self._terms = terms
        self._lease = lease
        self._quarantine = quarantine
        self._runs: dict[str, Run] = {}
        self._ended_early: dict[str, int] = {}

    async def execute(self, delivery: Delivery) -> None:
        """Carry out one delivery. Raises nothing: whatever happens ends in the record or the log."""
        try:
            task = decode_dispatch(delivery.body)
        except (DecodeError, ValueError) as error:
            # Nobody could ever run it. A task behind it, if there is one, is found by its wake.
            log.error("delivery.unreadable", error=str(error))  # noqa: TRY400  # A trace of the parser helps nobody.
            await delivery.ack()
            return
        for _ in range(CLAIM_TRIES):
            self._ended_early[task.id] = 0
            try:
                run = await self._claim(task)
            except (StoreUnavailableError, StoreFullError) as error:
                log.warning("delivery.not_claimed", task_id=task.id, error=str(error))
                await asyncio.sleep(CLAIM_PAUSE_SECONDS)
            else:
                break
        else:
            self._ended_early.pop(task.id, None)
            await delivery.give_back()
            return
        if run is not None:
            self._begin(run)
        self._ended_early.pop(task.id, None)
        await delivery.ack()
        if run is not None:
            await self._carry_out(run)

    def interrupt(self, task_id: str, attempt: int, why: Interruption) -> None:
        """Tell a running attempt to stop; nothing happens if it does not run here."""
        run = self._runs.get(task_id)
        if run is not None and run.attempt == attempt:
            run.interrupt(why)
        elif task_id in self._ended_early:
            # The word of its end has overtaken the answer to its claim.
            self._ended_early[task_id] = attempt

    def interrupt_all(self, why: Interruption) -> None:
        """Tell everything that runs to stop."""
        for run in list(self._runs.values()):
            run.interrupt(why)

    async def hand_back_the_rest(self, seconds: float) -> int:
        """Hand back what still runs although it was told to stop, within so many seconds; how much that is.

        Whatever its handlers say later is refused.
        """
        runs = list(self._runs.values())
        if runs:
            log.warning("worker.handlers_still_run", tasks=[run.task.id for run in runs])
            handing = [asyncio.ensure_future(run.finish(HandBack(attempt=run.attempt))) for run in runs]
            await asyncio.wait(handing, timeout=seconds)
        return len(runs)

    async def _claim(self, task: Task) -> Run | None:
        """The run, or None if there is nothing to run: claimed elsewhere, finished, or of an unknown type."""
        handler = self._handlers.get(task.spec.type)
        claim = Claim(
            worker=self._worker,
            terms=handler.terms(self._terms) if handler else self._terms,
            lease=self._lease,
            attempt=task.attempt + 1,
        )
        if handler is None:
            rejected = outcome.unknown_type(task.attempt + 1, task.spec.type)
            await self._journal.execute(task.id, claim, rejected, known=task)
            log.error("task.unknown_type", task_id=task.id, type=task.spec.type)
            return None
        claimed = await self._journal.execute(task.id, claim, known=task, want_payload=task.spec.payload is None)
        if isinstance(claimed, Refused):
            log.debug("task.not_claimed", task_id=task.id, reason=claimed.reason.value)
            return None
        failpoint("worker.claimed")
        WAIT_SECONDS.observe(max(claimed.task.update_time - max(task.not_before, task.create_time), 0) / 1_000)
        if claimed.task.spec.payload is None:
            raise StoreUnavailableError(f"task {task.id} came without its payload")
        return Run(claimed.task, self._journal, lease=self._lease)

    def _begin(self, run: Run) -> None:
        self._leases.hold(run.task.id, run.attempt)
        self._runs[run.task.id] = run
        RUNNING.inc()
        if self._ended_early.pop(run.task.id, 0) == run.attempt:
            run.interrupt(Interruption.ENDED)

    async def _carry_out(self, run: Run) -> None:
        task = run.task
        began = time.monotonic()
        ended = None
        try:
            ended = await self._perform(run)
            if ended is not None:
                await self._record(run, ended)
        finally:
            RUNNING.dec()
            ATTEMPT_SECONDS.labels(type(ended).__name__.lower() if ended else "overtaken").observe(
                time.monotonic() - began
            )
            self._leases.release(task.id, task.attempt)
            if self._runs.get(task.id) is run:
                del self._runs[task.id]

    async def _perform(self, run: Run) -> Outcome | None:
        """Run the handler. None if there is nothing to record, since the task has moved on without it."""
        handler = self._handlers[run.task.spec.type]
        runner = self._runner_of(handler, run.task)
        if run.context.cancelled:
            return self._interrupted(run, asyncio.CancelledError())
        job = asyncio.ensure_future(runner.run(handler, run.task, run.context))
        run.runs_in(job)
        try:
            return await job
        except STOPPED as error:
            return self._interrupted(run, error)
        except Exception as error:
            # The runner itself has failed, or the system that it asked.
            log.exception("runner.failed", task_id=run.task.id)
            return outcome.of_exception(run.attempt, error)

    def _runner_of(self, handler: AnyHandler, task: Task) -> Runner[Any]:
        place = place_of(handler)
        suspect = place in IN_THE_WORKER and lost_leases(task) >= LOSSES_BEFORE_QUARANTINE
        if suspect and self._quarantine is not None:
            log.warning("task.quarantined", task_id=task.id, attempt=task.attempt)
            return self._quarantine
        return self._runners[place]

    def _interrupted(self, run: Run, error: BaseException) -> Outcome | None:
        match run.context.interruption:
            case Interruption.ENDED:
                return None
            case Interruption.SHUTDOWN:
                return HandBack(attempt=run.attempt)
            case None:
                # The handler cancelled itself, or let a cancellation of something of its own out.
                return outcome.of_exception(run.attempt, error)

    async def _record(self, run: Run, ended: Outcome) -> None:
        failpoint("worker.finished")
        answer = await run.finish(ended)
        if isinstance(answer, Refused):
            log.info("task.late", task_id=run.task.id, attempt=run.attempt, reason=answer.reason.value)
