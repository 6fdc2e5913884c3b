"""The ways to show a watch: one line for each update, for people or for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import typer

from taskcast.cli import words
from taskcast.cli.lines import AnyScreen, JsonLines, TextLines, moves_the_cursor
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from taskcast.cli.view import TaskView
    from taskcast.v1.task_service_pb2 import WatchTaskResponse


class Screen(AnyScreen, Protocol):
    """Where the watch of one task is shown."""

    def show(self, update: WatchTaskResponse, /) -> None:
        """The task changed; the view knows it already."""
        ...


def screen_for(view: TaskView, *, as_json: bool) -> Screen:
    """The screen that suits standard output: a bar on a terminal, else lines."""
    if as_json:
        return JsonLines()
    if moves_the_cursor():
        from taskcast.cli.bar import Bar  # noqa: PLC0415  # The others do without rich.

        return Bar(view)
    return PlainLines(view)


class PlainLines(TextLines):
    """One line of text for each update, for logs and for terminals that cannot move the cursor."""

    def __init__(self, view: TaskView) -> None:
        super().__init__()
        self._view = view

    def show(self, update: WatchTaskResponse) -> None:
        """Print the time and what happened. The last event is left to `end`."""
        if self._view.finished:
            return
        time = update.event.time if update.HasField("event") else update.snapshot.update_time
        typer.echo(f"{words.clock(time)}  {self._what_happened(update)}")

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
