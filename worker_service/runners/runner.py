"""The port behind which handlers run, one adapter for each place where they can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from shared.domain.task import Task
    from worker_service.context import TaskContext
    from worker_service.outcome import Outcome

Runs_contra = TypeVar("Runs_contra", contravariant=True)
"""The kind of handler that a runner runs."""


class Runner(Protocol[Runs_contra]):
    """Runs handlers of one kind."""

    async def run(self, handler: Runs_contra, task: Task, context: TaskContext) -> Outcome:
        """Run the handler of an attempt that was claimed, and say what became of it.

        Whatever the handler does ends in an outcome. The call is cancelled, once, to say that the handler should
        stop; `context` says why. If the handler heeds that, or is ended for ignoring it, the call raises
        CancelledError or TaskCancelled. It never returns while the handler still runs.
        """
        ...

    async def close(self) -> None:
        """End what still runs, as far as that can be done from outside."""
        ...
