"""Handlers that are commands: the payload on stdin, words about the task on stdout, logs on stderr."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from typing import TYPE_CHECKING

from shared.domain.commands import Retry, Succeed
from shared.domain.task import TaskError, TaskProgress
from shared.json_values import decode_json, encode_json
from worker_service.runners.command_output import BadOutputError, bad_output, read_line
from worker_service.runners.group import ProcessGroup, told_exit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.task import Task
    from worker_service.command_file import CommandHandler
    from worker_service.context import TaskContext
    from worker_service.outcome import Outcome

LONGEST_LOG_LINE = 4_096
"""Bytes of stderr that are logged as one line."""


class CommandRunner:
    """Starts the command anew for every attempt. To stop it: SIGTERM to all that it started, then SIGKILL."""

    def __init__(self, *, kill_grace: float, max_result_bytes: int) -> None:
        """`kill_grace`: seconds from SIGTERM to SIGKILL."""
        self._kill_grace = kill_grace
        self._max_result_bytes = max_result_bytes
        # A value may take up more room as JSON text than encoded, but not without end.
        self._longest_line = 2 * max_result_bytes + (64 << 10)
        self._groups: set[ProcessGroup] = set()

    async def run(self, handler: CommandHandler, task: Task, context: TaskContext) -> Outcome:
        """See `Runner.run`."""
        try:
            group = await ProcessGroup.start(
                handler.command,
                environment={**os.environ, **handler.environment, **_variables(task, context)},
                folder=handler.folder,
                stderr=subprocess.PIPE,
                limit=self._longest_line,
            )
        except OSError as error:
            return Retry(attempt=task.attempt, error=TaskError(code="PROCESS_NOT_STARTED", message=str(error)))
        self._groups.add(group)
        conversation = asyncio.create_task(self._converse(group, task, context))
        try:
            said = await group.until(conversation, tell=group.terminate, grace=self._kill_grace)
            code = await group.wait()
        finally:
            group.close()
            self._groups.discard(group)
        return self._conclude(said, code, task, context)

    async def close(self) -> None:
        """See `Runner.close`."""
        for group in list(self._groups):
            group.kill()

    async def _converse(self, group: ProcessGroup, task: Task, context: TaskContext) -> Outcome | None:
        """What the command said of its end, once its output has ended."""
        aside = [
            asyncio.create_task(_feed(group.stdin, task.spec.payload or b"")),
            asyncio.create_task(_log_lines(group.stderr, context)),
        ]
        said: Outcome | None = None
        number = 0
        try:
            while line := await self._next_line(group.stdout):
                number += 1
                if not line.strip():
                    continue
                word = read_line(line, task.attempt, after=said, max_result_bytes=self._max_result_bytes)
                if isinstance(word, TaskProgress):
                    context.relay(word)
                    # Lines that have been read already come without a wait; others want their turn, too.
                    await asyncio.sleep(0)
                else:
                    said = word
        except BadOutputError as error:
            group.kill()
            said = bad_output(task.attempt, number, str(error))
        finally:
            await asyncio.wait([asyncio.create_task(group.wait()), *aside], return_when=asyncio.ALL_COMPLETED)
        return said

    async def _next_line(self, stdout: asyncio.StreamReader) -> bytes:
        try:
            return await stdout.readline()
        except ValueError:
            raise BadOutputError(f"the line after it is longer than {self._longest_line} bytes") from None

    def _conclude(self, said: Outcome | None, code: int, task: Task, context: TaskContext) -> Outcome:
        if context.cancelled and (said is None or (isinstance(said, Succeed) and code)):
            raise asyncio.CancelledError
        if code and (said is None or isinstance(said, Succeed)):
            context.log.warning("handler.process_lost", code=code)
            message = f"The handler's command {told_exit(code)}."
            return Retry(attempt=task.attempt, error=TaskError(code="PROCESS_EXITED", message=message))
        return said or Succeed(attempt=task.attempt, result=encode_json(None, "result"))


def _variables(task: Task, context: TaskContext) -> Mapping[str, str]:
    """What a command learns of its task beside the payload."""
    return {
        "TASK_ID": task.id,
        "TASK_TYPE": task.spec.type,
        "TASK_ATTEMPT": str(task.attempt),
        "TASK_LABELS": json.dumps(dict(task.spec.labels)),
        "TASK_DEADLINE": context.deadline.isoformat() if context.deadline else "",
    }


async def _feed(stdin: asyncio.StreamWriter, payload: bytes) -> None:
    # A command need not read its payload, and may end before it has.
    with contextlib.suppress(ConnectionError):
        stdin.write(json.dumps(decode_json(payload), ensure_ascii=False).encode() + b"\n")
        await stdin.drain()
    stdin.close()


async def _log_lines(stderr: asyncio.StreamReader, context: TaskContext) -> None:
    rest = b""
    while chunk := await stderr.read(LONGEST_LOG_LINE):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) >= LONGEST_LOG_LINE:
            lines, rest = [*lines, rest], b""
        for line in lines:
            context.log.info("handler.said", text=line.decode(errors="replace"))
        await asyncio.sleep(0)
    if rest:
        context.log.info("handler.said", text=rest.decode(errors="replace"))
