"""The ways to show a watch of many tasks: for programs, in a pipe, and on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import typer

from taskcast.cli import words
from taskcast.cli.lines import AnyScreen, JsonLines, TextLines, moves_the_cursor

if TYPE_CHECKING:
    from taskcast.cli.many_view import ManyView
    from taskcast.cli.view import TaskView
    from taskcast.v1.task_service_pb2 import WatchTasksResponse


class ManyScreen(AnyScreen, Protocol):
    """Where a watch of many is shown."""

    def show(self, update: WatchTasksResponse, view: TaskView, /) -> None:
        """A task changed; the views know it already."""
        ...


def many_screen_for(many: ManyView, *, as_json: bool) -> ManyScreen:
    """The screen that suits standard output: bars on a terminal, else lines."""
    if as_json:
        return JsonLines()
    if moves_the_cursor():
        from taskcast.cli.many_bars import ManyBars  # noqa: PLC0415  # The others do without rich.

        return ManyBars(many)
    return ManyPlainLines(many)


def ending_line(view: TaskView) -> str:
    """A finished task in one line."""
    return f"{view.id}  {words.one_line(view.type)}  {view.outcome}"


class ManyPlainLines(TextLines):
    """A line for each task that has finished, and one for all."""

    def __init__(self, many: ManyView) -> None:
        super().__init__()
        self._many = many

    def show(self, _update: WatchTasksResponse, view: TaskView) -> None:
        """Print how the task ended, if it has."""
        if view.finished:
            typer.echo(ending_line(view))

    def end(self) -> None:
        """Print how many ended how."""
        typer.echo(self._many.outcome)
