"""The ways to show a watch: one line for each update, for people or for programs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol, Self

import typer

from taskcast.cli import words
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from types import TracebackType

    from taskcast.cli.view import TaskView
    from taskcast.client import TaskcastError
    from taskcast.v1.task_service_pb2 import WatchTaskResponse


class Screen(Protocol):
    """Where a watch is shown. It is entered when the watch begins and left when it ends."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, update: WatchTaskResponse, /) -> None:
        """The task changed; the view knows it already."""
        ...

    def lost(self, error: TaskcastError, /) -> None:
        """There is no contact; another try follows."""
        ...

    def found(self) -> None:
        """There is contact."""
        ...

    def end(self) -> None:
        """The task has finished."""
        ...


def screen_for(view: TaskView, *, as_json: bool) -> Screen:
    """The screen that suits standard output: a bar on a terminal, else lines."""
    if as_json:
        return JsonLines()
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from taskcast.cli.bar import Bar  # noqa: PLC0415  # The others do without rich.

        return Bar(view)
    return PlainLines(view)


class JsonLines:
    """One WatchTaskResponse a line, and nothing else."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, update: WatchTaskResponse) -> None:
        """Print the update."""
        typer.echo(words.to_json(update))

    def lost(self, error: TaskcastError) -> None:
        """A program has no use for it."""

    def found(self) -> None:
        """Likewise."""

    def end(self) -> None:
        """The last update said it."""


class PlainLines:
    """One line of text for each update, for logs and for terminals that cannot move the cursor."""

    def __init__(self, view: TaskView) -> None:
        self._view = view
        self._was_found = False
        self._is_lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, update: WatchTaskResponse) -> None:
        """Print the time and what happened. The last event is left to `end`."""
        if self._view.finished:
            return
        time = update.event.time if update.HasField("event") else update.snapshot.update_time
        typer.echo(f"{words.clock(time)}  {self._what_happened(update)}")

    def lost(self, error: TaskcastError) -> None:
        """Say so once, if there has been contact; otherwise it is the final error that says it."""
        if self._was_found and not self._is_lost:
            self._is_lost = True
            typer.echo(f"{error} Trying again.", err=True)

    def found(self) -> None:
        """Say so if contact had been lost."""
        self._was_found = True
        if self._is_lost:
            self._is_lost = False
            typer.echo("Connected again.", err=True)

    def end(self) -> None:
        """Print the outcome."""
        typer.echo(self._view.outcome)

    def _what_happened(self, update: WatchTaskResponse) -> str:
        view = self._view
        if update.HasField("snapshot"):
            parts = [words.status_word(view.status), f"attempt {view.attempt}" if view.attempt else ""]
            return "  ".join(part for part in (*parts, *self._progress()) if part)
        match update.event.type:
            case task_pb2.TaskEvent.TYPE_SUBMITTED:
                return "submitted"
            case task_pb2.TaskEvent.TYPE_STARTED:
                worker = words.one_line(update.event.worker)
                return f"attempt {view.attempt} started" + (f" on {worker}" if worker else "")
            case task_pb2.TaskEvent.TYPE_PROGRESSED:
                return "  ".join(part for part in self._progress() if part)
            case _:
                return view.activity or words.status_word(view.status)

    def _progress(self) -> tuple[str, str, str]:
        # A line cannot show "unknown" as a moving bar does: what has reported no percentage is at the beginning.
        return (f"{self._view.percent or 0:3.0f} %", self._view.counts, self._view.activity)
