"""What all screens have in common: they are entered and left, and hear when contact is lost and found."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol, Self

import typer

from taskcast.cli import words

if TYPE_CHECKING:
    from types import TracebackType

    from google.protobuf.message import Message

    from taskcast.client import TaskcastError


class AnyScreen(Protocol):
    """Where a watch is shown. It is entered when the watch begins and left when it ends."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def lost(self, error: TaskcastError, /) -> None:
        """There is no contact; another try follows."""
        ...

    def found(self) -> None:
        """There is contact."""
        ...

    def end(self) -> None:
        """All that was watched has finished."""
        ...


def moves_the_cursor() -> bool:
    """Whether standard output is a terminal on which a bar can move."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Lines:
    """A screen that needs nothing set up."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class JsonLines(Lines):
    """One update a line as JSON, and nothing else."""

    def show(self, update: Message, *_: object) -> None:
        """Print the update."""
        typer.echo(words.to_json(update))

    def lost(self, error: TaskcastError) -> None:
        """A program has no use for it."""

    def found(self) -> None:
        """Likewise."""

    def end(self) -> None:
        """The last updates said it."""


class TextLines(Lines):
    """Lines of text for people; this much of them is the same whatever is watched."""

    def __init__(self) -> None:
        self._was_found = False
        self._is_lost = False

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
