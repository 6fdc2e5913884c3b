"""The live progress bar, for terminals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from taskcast.cli import words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from taskcast.cli.view import TaskView
    from taskcast.client import TaskcastError
    from taskcast.v1.task_service_pb2 import WatchTaskResponse

_FRAMES_PER_SECOND = 10
_NARROW = 64
"""Columns below which the line does without what is not essential."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """What the bar says, apart from the time. It is replaced whole, as another thread draws it."""

    type: str = ""
    percent: float | None = None
    counts: str = ""
    activity: str = ""
    attempt: int = 0
    finished: bool = False
    succeeded: bool = False
    connection: str = "connecting…"


class Bar:
    """One line that moves: type, bar, percent, units, what is going on, attempt and time."""

    def __init__(self, view: TaskView, console: Console | None = None) -> None:
        self._view = view
        self._console = console or Console(highlight=False)
        self._picture = _Picture(type=view.type)
        self._live = Live(
            self,
            console=self._console,
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, _update: WatchTaskResponse, /) -> None:
        """Draw what the view knows now."""
        view = self._view
        self._picture = _Picture(
            type=words.one_line(view.type),
            percent=view.percent,
            counts=view.counts,
            activity=view.activity,
            attempt=view.attempt,
            finished=view.finished,
            succeeded=view.succeeded,
            connection="",
        )

    def lost(self, _error: TaskcastError, /) -> None:
        """Show that what is seen may be old."""
        first = self._picture.connection == "connecting…"
        self._picture = replace(self._picture, connection="connecting…" if first else "reconnecting…")

    def found(self) -> None:
        """Show that it is current again."""
        if self._picture.connection:
            self._picture = replace(self._picture, connection="")

    def end(self) -> None:
        """Leave the bar as it is, and print the outcome below."""
        self._live.stop()
        style = "bold green" if self._view.succeeded else "bold red"
        status, rest = words.status_word(self._view.status), self._view.outcome
        line = Text(rest)
        line.stylize(style, 0, len(status))
        self._console.print(line, soft_wrap=True)

    def __rich__(self) -> Table:
        picture = self._picture
        # A terminal that shows ^C after the line must not have to break it.
        width = self._console.width - 2
        is_narrow = width < _NARROW
        line = Table.grid(padding=(0, 1))
        line.width = width
        cells: list[RenderableType] = []

        def add(cell: RenderableType, **column: Any) -> None:
            line.add_column(no_wrap=True, overflow="ellipsis", **column)
            cells.append(cell)

        add(Text(picture.type, style="bold"), max_width=max(width // 4, 12))
        add(self._bar(picture, 6 if is_narrow else min(width // 5, 40)))
        if not (is_narrow and picture.connection):
            add(Text("" if picture.percent is None else f"{picture.percent:3.0f} %"))
        if not is_narrow:
            add(Text(picture.counts, style="cyan"))
        activity = Text(picture.connection, style="yellow") if picture.connection else Text(picture.activity)
        add(activity, ratio=1, min_width=len(picture.connection))
        if picture.attempt > 1 or (picture.attempt and not is_narrow):
            add(Text(f"attempt {picture.attempt}", style="dim"))
        add(Text(words.seconds(self._view.elapsed), style="dim"))
        line.add_row(*cells)
        return line

    @staticmethod
    def _bar(picture: _Picture, width: int) -> ProgressBar:
        style = "red" if picture.finished and not picture.succeeded else "green"
        return ProgressBar(
            total=100,
            completed=picture.percent or 0.0,
            width=width,
            pulse=picture.percent is None and not picture.finished,
            complete_style=style,
            finished_style=style,
        )
