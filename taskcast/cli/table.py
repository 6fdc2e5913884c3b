"""Rows for people: aligned columns, cut off on a terminal that is too narrow, whole in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from taskcast.cli import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from taskcast.v1 import task_pb2

_UNBOUNDED = 10_000

STATUS_STYLES = {
    "SUCCESS": "green",
    "FAILED": "bold red",
    "ERROR": "bold red",
    "TIMEOUT": "bold red",
    "CANCELLED": "yellow",
    "PROCESSING": "bold cyan",
}


def status_text(status: task_pb2.TaskStatus.ValueType) -> Text:
    """The name of a status in its colour."""
    word = words.status_word(status)
    return Text(word, style=STATUS_STYLES.get(word, ""))


def show_table(titles: Sequence[str], rows: Iterable[Sequence[str | Text]], *, flexible: str) -> None:
    """Print titles and rows. Where there is no room for all, the column `flexible` is cut off."""
    is_terminal = sys.stdout.isatty()
    console = Console(highlight=False) if is_terminal else Console(highlight=False, width=_UNBOUNDED)
    table = Table(box=None, pad_edge=False, header_style="dim" if is_terminal else "", padding=(0, 2, 0, 0))
    for title in titles:
        if title == flexible:
            table.add_column(title, no_wrap=True, overflow="ellipsis", ratio=1 if is_terminal else None)
        else:
            table.add_column(title, no_wrap=True, overflow="ignore", min_width=len(title))
    for row in rows:
        table.add_row(*(Text(words.one_line(cell)) if isinstance(cell, str) else cell for cell in row))
    console.print(table)
