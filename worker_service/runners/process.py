"""Handlers with `isolation="process"`, each in a child process of its own while it runs."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import structlog

from shared.domain.commands import Retry
from shared.domain.task import TaskError
from worker_service.runners.frames import (
    HEAD,
    Kind,
    decode_outcome,
    decode_progress,
    encode_attempt,
    frame,
)
from worker_service.runners.group import ProcessExitedError, ProcessGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.domain.task import Task
    from worker_service.context import Interruption, TaskContext
    from worker_service.outcome import Outcome
    from worker_service.registry import Handler

COMMAND = (sys.executable, "-m", "worker_service.runners.child")
IDLE_SECONDS = 60.0
"""A child that had nothing to do for so long ends, unless it is the last."""

EXIT_SECONDS = 2.0
"""How long a child may take to end when it has closed its pipe, or is no longer needed."""

log = structlog.get_logger(__name__)


class ChildBrokenError(Exception):
    """A child process could not load the handlers; the message says why."""


class ProcessRunner:
    """Starts children when they are needed, keeps them for later tasks, and never uses one again that has died."""

    def __init__(
        self,
        modules: Sequence[str],
        *,
        kill_grace: float,
        max_result_bytes: int,
        log_level: str,
        log_format: str,
    ) -> None:
        """`modules` hold the handlers. `kill_grace`: seconds from the word to stop to SIGKILL."""
        self._opening = {
            "modules": list(modules),
            "max_result_bytes": max_result_bytes,
            "log_level": log_level,
            "log_format": log_format,
        }
        self._kill_grace = kill_grace
        self._idle: list[tuple[float, _Child]] = []
        self._all: set[_Child] = set()
        self._thinning: asyncio.TimerHandle | None = None

    async def run(self, handler: Handler[..., Any], task: Task, context: TaskContext) -> Outcome:
        """See `Runner.run`."""
        del handler  # The child finds it by the task's type.
        try:
            child = await self._take()
            ended = await self._run_in(child, task, context)
        except (ProcessExitedError, ChildBrokenError, OSError) as error:
            if context.cancelled:
                raise asyncio.CancelledError from error
            code = "PROCESS_EXITED" if isinstance(error, ProcessExitedError) else "PROCESS_NOT_STARTED"
            context.log.warning("handler.process_lost", code=code, error=str(error))
            return Retry(attempt=task.attempt, error=TaskError(code=code, message=str(error)))
        if ended is None:
            raise asyncio.CancelledError
        return ended

    async def close(self) -> None:
        """See `Runner.close`."""
        if self._thinning is not None:
            self._thinning.cancel()
        idle = {child for _, child in self._idle}
        for child in self._all - idle:
            child.group.kill()
        await asyncio.gather(*(child.dismiss() for child in self._all))

    async def _run_in(self, child: _Child, task: Task, context: TaskContext) -> Outcome | None:
        def tell() -> None:
            assert context.interruption is not None  # Nothing else cancels a run.
            child.tell(context.interruption)

        running = asyncio.create_task(child.run(task, context))
        try:
            ended = await child.group.until(running, tell=tell, grace=self._kill_grace)
        except BaseException:
            # It is dead, or has said what nobody understands.
            self._all.discard(child)
            await child.group.abandon()
            raise
        self._put_back(child)
        return ended

    async def _take(self) -> _Child:
        """A child that waits, else a new one."""
        while self._idle:
            _, child = self._idle.pop()
            if not child.group.has_ended:
                return child
            self._discard(child)
        group = await ProcessGroup.start(COMMAND)
        child = _Child(group)
        self._all.add(child)
        try:
            # The path as it is now: the modules may have been found through it.
            await child.open(self._opening | {"path": sys.path})
        except BaseException:
            self._all.discard(child)
            await group.abandon()
            raise
        return child

    def _discard(self, child: _Child) -> None:
        child.group.close()
        self._all.discard(child)

    def _put_back(self, child: _Child) -> None:
        self._idle.append((time.monotonic(), child))
        if self._thinning is None:
            self._thin_out_later()

    def _thin_out_later(self) -> None:
        self._thinning = asyncio.get_running_loop().call_later(IDLE_SECONDS / 2, self._thin_out)

    def _thin_out(self) -> None:
        self._thinning = None
        # The one used last is taken first, so that the first are those which nobody has needed for the longest time.
        while len(self._idle) > 1 and self._idle[0][0] < time.monotonic() - IDLE_SECONDS:
            _, child = self._idle.pop(0)
            self._discard(child)
        if len(self._idle) > 1:
            self._thin_out_later()


class _Child:
    """A child process, and the conversation with it."""

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group

    async def open(self, opening: Mapping[str, Any]) -> None:
        """Have it load the handlers. Raises ChildBrokenError or ProcessExitedError."""
        self._say(Kind.OPEN, json.dumps(opening).encode())
        kind, body = await self._hear()
        if kind is Kind.BROKEN:
            raise ChildBrokenError(f"A child process could not load the handlers: {body.decode(errors='replace')}")

    async def run(self, task: Task, context: TaskContext) -> Outcome | None:
        """The outcome; None if the handler stopped as it was told. Raises ProcessExitedError."""
        self._say(Kind.RUN, encode_attempt(task))
        while True:
            kind, body = await self._hear()
            match kind:
                case Kind.PROGRESS:
                    context.relay(decode_progress(body))
                case Kind.HEEDED:
                    return None
                case _:
                    return decode_outcome(task.attempt, body)

    def tell(self, why: Interruption) -> None:
        """Its handler should stop."""
        self._say(Kind.STOP, why.name.encode())

    async def dismiss(self) -> None:
        """It is no longer needed."""
        self.group.stdin.close()
        await self.group.end(within=EXIT_SECONDS)
        self.group.close()

    def _say(self, kind: Kind, body: bytes = b"") -> None:
        # Not waited for: a child that does not read is one that is about to be found dead, or to be killed.
        self.group.stdin.write(frame(kind, body))

    async def _hear(self) -> tuple[Kind, bytes]:
        try:
            kind, length = HEAD.unpack(await self.group.stdout.readexactly(HEAD.size))
            return Kind(kind), await self.group.stdout.readexactly(length)
        except asyncio.IncompleteReadError:
            raise ProcessExitedError(await self.group.end(within=EXIT_SECONDS)) from None
