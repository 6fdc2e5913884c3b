"""For the tests of handlers: run one in this process, without servers, and see what would become of its task.

async def test_an_empty_report_fails():
ran = await run_handler(render, {})
assert ran.status is TaskStatus.FAILED
assert ran.error.code == "EMPTY"
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.domain.commands import Cancel, Claim, ReportProgress, Retry, Submit
from shared.domain.decide import Refusal, Rescheduled, decide
from shared.domain.evolve import evolve
from shared.domain.submission import Limits
from shared.domain.task import AttemptTerms, EventType, TaskError, TaskEvent, TaskProgress, TaskSpec, TaskStatus
from shared.json_values import decode_json, encode_json
from worker_service.command_file import CommandHandler
from worker_service.context import Interruption, TaskContext
from worker_service.runners.call import STOPPED
from worker_service.runners.command import CommandRunner
from worker_service.runners.loop import LoopRunner
from worker_service.runners.thread import ThreadRunner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.commands import Command
    from shared.domain.task import Task
    from shared.json_values import JsonValue
    from worker_service.registry import AnyHandler
    from worker_service.runners.runner import Runner

__all__ = ["EventType", "Ran", "TaskError", "TaskEvent", "TaskProgress", "TaskStatus", "run_handler"]

MOST_RESULT_BYTES = Limits().result_bytes
KILL_GRACE_SECONDS = 1.0
LEASE = 60_000


@dataclass(frozen=True, slots=True)
class Ran:
    """What one attempt came to, by the rules that a worker goes by."""

    events: tuple[TaskEvent, ...]
    """The attempt's events: STARTED, PROGRESSED for every report, and its end."""
    status: TaskStatus
    """The task's status afterwards; WAITING if another attempt would follow."""
    result: JsonValue
    """What the handler returned, as a client would get it; None unless it succeeded."""
    error: TaskError | None
    """Why it did not succeed: a code and a message."""
    retry_after: float | None
    """Seconds until the next attempt, if one would follow."""

    @property
    def progress(self) -> list[TaskProgress]:
        """Every report. A worker would send on the latest of quick ones only."""
        return [event.progress for event in self.events if event.progress is not None]


async def run_handler(
    handler: AnyHandler,
    payload: object = None,
    *,
    labels: Mapping[str, str] | None = None,
    attempt: int = 1,
    cancel_after_reports: int | None = None,
) -> Ran:
    """Run one attempt of a handler, and say what came of it.

    An `async def` handler runs on the running loop and a `def` handler in a thread, also those with
    `isolation="process"`; a command is started. With `cancel_after_reports` the task is cancelled when the handler has
    reported progress so often. Time limits are not watched. Raises NotJsonError for a payload that JSON cannot hold,
    and ValueError for an attempt that the handler's `max_attempts` does not allow.
    """
    spec = TaskSpec(type=handler.type, payload=encode_json(payload, "payload"), labels=dict(labels or {}))
    story = _Story(handler.terms(AttemptTerms()))
    story.tell(Submit(task_id=str(uuid.uuid4()), tenant="test", spec=spec))
    story.begin_attempt(attempt)
    runner = _runner_of(handler)
    try:
        await _perform(runner, handler, story, cancel_after_reports)
    finally:
        await runner.close()
    return story.told()


async def _perform(runner: Runner[Any], handler: AnyHandler, story: _Story, cancel_after: int | None) -> None:
    reports = 0

    def report(progress: TaskProgress) -> None:
        nonlocal reports
        if context.interruption is not None:
            return
        story.tell(ReportProgress(attempt=story.task.attempt, progress=progress, lease=LEASE))
        reports += 1
        if reports == cancel_after:
            story.tell(Cancel(reason="The test asked for it."))
            context.interrupt(Interruption.ENDED)
            job.cancel()

    context = TaskContext(story.task, report=report, loop=asyncio.get_running_loop())
    job = asyncio.ensure_future(runner.run(handler, story.task, context))
    try:
        outcome = await job
    except STOPPED:
        if context.interruption is None:
            raise
    else:
        if context.interruption is None:
            story.tell(outcome)


def _runner_of(handler: AnyHandler) -> Runner[Any]:
    if isinstance(handler, CommandHandler):
        return CommandRunner(kill_grace=KILL_GRACE_SECONDS, max_result_bytes=MOST_RESULT_BYTES)
    if handler.is_async:
        return LoopRunner(max_result_bytes=MOST_RESULT_BYTES)
    return ThreadRunner(threads=1, max_result_bytes=MOST_RESULT_BYTES)


class _Story:
    """A task that only this test knows, and the rules of its life."""

    def __init__(self, terms: AttemptTerms) -> None:
        self._terms = terms
        self._task: Task | None = None
        self._events: list[TaskEvent] = []

    @property
    def task(self) -> Task:
        assert self._task is not None  # It is submitted first.
        return self._task

    def tell(self, command: Command) -> None:
        verdict = decide(self._task, command, int(time.time() * 1_000))
        if isinstance(verdict, Refusal | Rescheduled):
            raise ValueError(f"{type(command).__name__} is refused: {verdict}")  # noqa: TRY004  # Of a task in this state.
        self._task = evolve(self._task, verdict)
        self._events.append(verdict)

    def begin_attempt(self, number: int) -> None:
        """Claim the task until this attempt runs; those before it have failed."""
        if not 1 <= number <= self._terms.max_attempts:
            raise ValueError(f"attempt is {number}, the handler allows 1 to {self._terms.max_attempts}")
        error = TaskError(code="EARLIER", message="An earlier attempt failed.")
        while self.task.attempt < number:
            if self.task.attempt:
                self.tell(Retry(attempt=self.task.attempt, error=error, after=0))
            self.tell(Claim(worker="test", terms=self._terms, lease=LEASE))
        del self._events[:-1]

    def told(self) -> Ran:
        task = self.task
        last = self._events[-1]
        waits = task.status is TaskStatus.WAITING and task.next_attempt_time is not None
        return Ran(
            events=tuple(self._events),
            status=task.status,
            result=None if task.result is None else decode_json(task.result),
            error=last.error,
            retry_after=(task.next_attempt_time - last.time) / 1_000 if waits and task.next_attempt_time else None,
        )
