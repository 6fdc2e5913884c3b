"""What a handler sees of its task."""

from __future__ import annotations

import asyncio
import enum
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from shared.domain.submission import Limits
from shared.domain.task import TaskProgress
from shared.json_values import encode_json_object
from worker_service.outcome import TaskCancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

    from shared.domain.task import Task

LONGEST_PROGRESS_MESSAGE = 1_024


class Interruption(enum.Enum):
    """Why a handler should stop."""

    ENDED = "the task was cancelled, has timed out or runs elsewhere"
    SHUTDOWN = "the worker stops"


class TaskContext:
    """A handler's view of the task it runs, and its voice to whoever watches.

    The same in an `async def` handler and in a `def` handler, in this process and in another.
    """

    def __init__(
        self, task: Task, *, report: Callable[[TaskProgress], None], loop: asyncio.AbstractEventLoop | None
    ) -> None:
        """`report` takes progress on `loop`'s thread; without a loop it is called at once, in any thread."""
        self.task_id = task.id
        """The task's id."""
        self.attempt = task.attempt
        """Which attempt this is, from 1."""
        self.labels: Mapping[str, str] = task.spec.labels
        """The labels the client gave the task."""
        self.deadline = _earliest(task.deadline, task.attempt_deadline)
        """When the attempt runs out of time, as an aware datetime, or None if it has no limit."""
        self.log = structlog.get_logger("handler").bind(task_id=task.id, type=task.spec.type, attempt=task.attempt)
        """A logger that names the task in every line."""
        self._report = report
        self._loop = loop
        self._interruption: Interruption | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the handler should stop: its result would be refused, or the worker is shutting down."""
        return self._interruption is not None

    def progress(
        self,
        *,
        percent: float | None = None,
        message: str = "",
        completed: int | None = None,
        total: int | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> Awaitable[None]:
        """Say how far the task has come. Cheap: of quick reports only the latest is sent.

        In an `async def` handler await it, which also gives cancellation a chance; in a `def` handler do not. Without
        `percent` it is `completed` of `total`. `detail` is a JSON object of at most 16 KiB.
        Raises ValueError for what makes no sense, and in a `def` handler TaskCancelled once it should stop.
        """
        progress = make_progress(percent, message, completed, total, detail)
        if self._is_on_loop():
            self._report(progress)
            return _Reported()
        if self._interruption is not None:
            raise TaskCancelled(self._interruption.value)
        if self._loop is None:
            self._report(progress)
        else:
            self._loop.call_soon_threadsafe(self._report, progress)
        return _Reported()

    def relay(self, progress: TaskProgress) -> None:
        """For a runner: what the handler has reported elsewhere, said on the loop."""
        self._report(progress)

    def interrupt(self, why: Interruption) -> None:
        """For the executor: the handler should stop."""
        self._interruption = why

    @property
    def interruption(self) -> Interruption | None:
        """For the executor: why the handler was told to stop, if it was."""
        return self._interruption

    def _is_on_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False


class _Reported:
    """Awaiting it lets the event loop take a turn; not awaiting it is fine, too."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def make_progress(
    percent: object, message: object, completed: object, total: object, detail: Mapping[str, object] | None
) -> TaskProgress:
    """A checked TaskProgress, whatever a handler passes. Raises ValueError for what makes no sense."""
    done, of = completed or 0, total or 0
    if not isinstance(done, int) or not isinstance(of, int) or not (0 <= done < 2**63 and 0 <= of < 2**63):
        raise ValueError(f"completed and total must be whole numbers of 0 or more, are {completed!r} and {total!r}")
    if of and done > of:
        raise ValueError(f"completed is {done}, which is more than the total of {of}")
    if percent is None:
        percent = 100.0 * done / of if of else 0.0
    if isinstance(percent, bool) or not isinstance(percent, (int, float)) or not math.isfinite(percent):
        raise ValueError(f"percent must be a number, is {percent!r}")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must be between 0 and 100, is {percent}")
    encoded = b"" if detail is None else encode_json_object(detail, "detail")
    if len(encoded) > Limits().progress_detail_bytes:
        raise ValueError(f"detail is {len(encoded)} bytes encoded, the limit is {Limits().progress_detail_bytes}")
    text = str(message).encode(errors="replace").decode()[:LONGEST_PROGRESS_MESSAGE]
    return TaskProgress(percent=float(percent), message=text, completed=done, total=of, detail=encoded)


def _earliest(*times: int | None) -> datetime | None:
    known = [time for time in times if time is not None]
    return datetime.fromtimestamp(min(known) / 1_000, UTC) if known else None
