"""One bar for all tasks, and a line that moves for each that runs, for terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from taskcast.cli import words
from taskcast.cli.many_screens import ending_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from taskcast.cli.many_view import ManyView
    from taskcast.cli.view import TaskView
    from taskcast.client import TaskcastError
    from taskcast.v1.task_service_pb2 import WatchTasksResponse

_FRAMES_PER_SECOND = 10
_MOST_LINES = 20
_LINES_AROUND = 4
"""The bar of all, the line that counts the rest, the prompt's line, and one to spare."""


class ManyBars:
    """The picture of a ManyView. What did not succeed is printed above it and stays."""

    def __init__(self, many: ManyView, console: Console | None = None) -> None:
        self._many = many
        self._console = console or Console(highlight=False)
        self._was_found = False
        self._connection = "connecting…"
        self._live = Live(
            self,
            console=self._console,
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, _update: WatchTasksResponse, view: TaskView) -> None:
        """Print a task that ended without success; the rest is drawn from the view."""
        if view.finished and not view.succeeded:
            self._console.print(Text(ending_line(view), style="red"), soft_wrap=True)

    def lost(self, _error: TaskcastError) -> None:
        """Show that what is seen may be old."""
        self._connection = "reconnecting…" if self._was_found else "connecting…"

    def found(self) -> None:
        """Show that it is current."""
        self._was_found = True
        self._connection = ""

    def end(self) -> None:
        """Leave the bar as it is, and print below how many ended how."""
        self._live.stop()
        style = "bold green" if self._many.all_succeeded else "bold red"
        self._console.print(Text(self._many.outcome, style=style), soft_wrap=True)

    def __rich__(self) -> Group:
        # Another thread draws: what is shown is copied first.
        running = list(self._many.running.values())
        room = max(min(self._console.height - _LINES_AROUND, _MOST_LINES), 1)
        lines: list[RenderableType] = [self._overall()]
        if running:
            lines.append(self._tasks(running[:room]))
        if len(running) > room:
            lines.append(Text(f"  and {len(running) - room} more running", style="dim"))
        return Group(*lines)

    def _overall(self) -> Table:
        many = self._many
        width = self._console.width - 2
        line = Table.grid(padding=(0, 1))
        line.width = width
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
        line.add_column(no_wrap=True)
        style = "red" if many.any_did_not_succeed else "green"
        bar = ProgressBar(
            total=100, completed=many.percent, width=min(width // 4, 40), complete_style=style, finished_style=style
        )
        line.add_row(
            Text(f"{words.count(many.finished)}/{words.count(len(many.tasks))}", style="bold"),
            bar,
            Text(self._connection, style="yellow") if self._connection else Text(many.tally),
            Text(words.seconds(many.elapsed), style="dim"),
        )
        return line

    def _tasks(self, views: Sequence[TaskView]) -> Table:
        width = self._console.width - 2
        table = Table.grid(padding=(0, 1))
        table.width = width
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(width // 4, 12))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
        table.add_column(no_wrap=True)
        for view in views:
            percent = view.percent
            table.add_row(
                Text(f"  {words.one_line(view.type)}"),
                # The end of an id differs between tasks of one moment, the beginning does not.
                Text(f"…{view.id[-8:]}", style="dim"),
                ProgressBar(total=100, completed=percent or 0.0, width=min(width // 6, 20), pulse=percent is None),
                Text("" if percent is None else f"{percent:3.0f} %"),
                Text("  ".join(part for part in (view.counts, view.activity) if part)),
                Text(words.seconds(view.elapsed), style="dim"),
            )
        return table
