"""`python -m worker_service.runners.child`: runs handlers with `isolation="process"`, one at a time, for its worker."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from shared.telemetry import configure_logs
from worker_service import outcome
from worker_service.context import Interruption, TaskContext
from worker_service.registry import Handler, load_handlers
from worker_service.runners.call import STOPPED, await_handler, call_handler
from worker_service.runners.frames import HEAD, Kind, decode_attempt, encode_outcome, encode_progress, frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.task import Task, TaskProgress
    from worker_service.outcome import Outcome
    from worker_service.registry import AnyHandler

REPORT_SECONDS = 0.02
"""Progress goes to the worker at most this often; the worker sends it on at its own pace."""


def main() -> None:
    """Serve until the worker closes the pipe. If the worker dies, the guard of the process group ends this process."""
    pipe = Pipe.from_standard_streams()
    opening = pipe.read()
    if opening is None:
        return
    settings = json.loads(opening[1])
    configure_logs("worker", level=settings["log_level"], form=settings["log_format"])
    sys.path[:] = settings["path"]
    try:
        handlers = load_handlers(settings["modules"])
    except BaseException as error:  # noqa: BLE001  # What a module does when it is imported is its author's business.
        pipe.write(Kind.BROKEN, f"{type(error).__name__}: {error}".encode(errors="replace"))
        return
    pipe.write(Kind.READY)
    Child(pipe, handlers, max_result_bytes=settings["max_result_bytes"]).serve()


class Pipe:
    """The two pipes to the worker, kept out of the handlers' reach."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO) -> None:
        self._reading = reading
        self._writing = writing
        self._lock = threading.Lock()

    @classmethod
    def from_standard_streams(cls) -> Pipe:
        """Take over stdin and stdout: a handler then reads nothing, and what it prints goes to the log."""
        reading, writing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)
        return cls(reading, writing)

    def read(self) -> tuple[Kind, bytes] | None:
        """The next frame; None at the end."""
        head = self._reading.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        kind, length = HEAD.unpack(head)
        return Kind(kind), self._reading.read(length)

    def write(self, kind: Kind, body: bytes = b"") -> None:
        """Send a frame, from any thread."""
        left = memoryview(frame(kind, body))
        with self._lock:
            while left:
                left = left[self._writing.write(left) :]


class Reports:
    """Sends the latest progress, the first at once and then not too often."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._latest: TaskProgress | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._send, name="progress", daemon=True).start()

    def put(self, progress: TaskProgress) -> None:
        """The handler has reported this."""
        with self._changed:
            self._latest = progress
            self._changed.notify()

    def flush(self) -> None:
        """Send what was not sent yet, before the handler's end is told."""
        with self._changed:
            self._send_latest()

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._latest is not None)
                self._send_latest()
            time.sleep(REPORT_SECONDS)

    def _send_latest(self) -> None:
        if self._latest is not None:
            progress, self._latest = self._latest, None
            self._pipe.write(Kind.PROGRESS, encode_progress(progress))


class Attempt:
    """An attempt that this process was told to run."""

    def __init__(
        self, task: Task, handler: AnyHandler | None, reports: Reports, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.task = task
        self.handler = handler
        self._loop = loop if isinstance(handler, Handler) and handler.is_async else None
        self.context = TaskContext(task, report=reports.put, loop=self._loop)
        self._job: asyncio.Task[Any] | None = None

    def stop(self, why: Interruption) -> None:
        """Tell the handler, from another thread."""
        self.context.interrupt(why)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def perform(self, *, max_result_bytes: int) -> Outcome:
        """Run the handler. Raises what is in STOPPED."""
        if not isinstance(self.handler, Handler):
            return outcome.unknown_type(self.task.attempt, self.task.spec.type)
        if self.context.cancelled:
            raise asyncio.CancelledError
        if self._loop is None:
            return call_handler(self.handler, self.task, self.context, max_bytes=max_result_bytes)
        return self._loop.run_until_complete(self._await(self.handler, max_result_bytes))

    async def _await(self, handler: Handler[..., Any], max_result_bytes: int) -> Outcome:
        self._job = asyncio.current_task()
        # The word to stop may have come before there was anything to cancel.
        if self.context.cancelled:
            raise asyncio.CancelledError
        return await await_handler(handler, self.task, self.context, max_bytes=max_result_bytes)


class Child:
    """Handlers run in the main thread, as programs expect; another one listens to the worker meanwhile."""

    def __init__(self, pipe: Pipe, handlers: Mapping[str, AnyHandler], *, max_result_bytes: int) -> None:
        self._pipe = pipe
        self._handlers = handlers
        self._max_result_bytes = max_result_bytes
        self._reports = Reports(pipe)
        self._loop = asyncio.new_event_loop()
        self._attempts: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._current: Attempt | None = None

    def serve(self) -> None:
        """Run one attempt after the other until the worker closes the pipe."""
        threading.Thread(target=self._listen, name="worker", daemon=True).start()
        while (attempt := self._attempts.get()) is not None:
            self._run(attempt)

    def _listen(self) -> None:
        try:
            self._heed_worker()
        except BaseException:
            # A process that hears nobody must not go on, and the worker sees that it has ended.
            logging.getLogger(__name__).exception("child.deaf")
            os._exit(70)
        self._attempts.put(None)

    def _heed_worker(self) -> None:
        while (said := self._pipe.read()) is not None:
            kind, body = said
            if kind is Kind.RUN:
                task = decode_attempt(body)
                self._current = Attempt(task, self._handlers.get(task.spec.type), self._reports, self._loop)
                self._attempts.put(self._current)
            elif kind is Kind.STOP and self._current is not None:
                self._current.stop(Interruption[body.decode()])
        self._attempts.put(None)

    def _run(self, attempt: Attempt) -> None:
        try:
            ended = attempt.perform(max_result_bytes=self._max_result_bytes)
        except STOPPED as error:
            if attempt.context.cancelled:
                self._say(Kind.HEEDED)
                return
            ended = outcome.of_exception(attempt.task.attempt, error)
        self._say(Kind.ENDED, encode_outcome(ended))

    def _say(self, kind: Kind, body: bytes = b"") -> None:
        # From here on a word to stop comes too late; one that comes all the same finds nobody.
        self._current = None
        self._reports.flush()
        self._pipe.write(kind, body)


if __name__ == "__main__":
    main()
