"""The ways to show a watch of many tasks: for programs, in a pipe, and on a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol, Self

import typer

from taskcast.cli import words

if TYPE_CHECKING:
    from types import TracebackType

    from taskcast.cli.many_view import ManyView
    from taskcast.cli.view import TaskView
    from taskcast.client import TaskcastError
    from taskcast.v1.task_service_pb2 import WatchTasksResponse


class ManyScreen(Protocol):
    """Where a watch of many is shown. It is entered when the watch begins and left when it ends."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, update: WatchTasksResponse, view: TaskView, /) -> None:
        """A task changed; the views know it already."""
        ...

    def lost(self, error: TaskcastError, /) -> None:
        """There is no contact; another try follows."""
        ...

    def found(self) -> None:
        """There is contact."""
        ...

    def end(self) -> None:
        """All have finished."""
        ...


def many_screen_for(many: ManyView, *, as_json: bool) -> ManyScreen:
    """The screen that suits standard output: bars on a terminal, else lines."""
    if as_json:
        return ManyJsonLines()
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from taskcast.cli.many_bars import ManyBars  # noqa: PLC0415  # The others do without rich.

        return ManyBars(many)
    return ManyPlainLines(many)


def ending_line(view: TaskView) -> str:
    """A finished task in one line."""
    return f"{view.id}  {words.one_line(view.type)}  {view.outcome}"


class ManyJsonLines:
    """One WatchTasksResponse a line, and nothing else."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, update: WatchTasksResponse, _view: TaskView) -> None:
        """Print the update."""
        typer.echo(words.to_json(update))

    def lost(self, error: TaskcastError) -> None:
        """A program has no use for it."""

    def found(self) -> None:
        """Likewise."""

    def end(self) -> None:
        """The last updates said it."""


class ManyPlainLines:
    """A line for each task that has finished, and one for all."""

    def __init__(self, many: ManyView) -> None:
        self._many = many
        self._was_found = False
        self._is_lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, _update: WatchTasksResponse, view: TaskView) -> None:
        """Print how the task ended, if it has."""
        if view.finished:
            typer.echo(ending_line(view))

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
        """Print how many ended how."""
        typer.echo(self._many.outcome)
