"""Running a command: a client for it, and an exit status and one sentence for whatever goes wrong."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, NoReturn

import typer

from taskcast.client import Client, TaskcastError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SUCCEEDED = 0
FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130

CALL_SECONDS = 10.0
"""How long a call is tried. People wait for it."""


def run(
    server: str,
    command: Callable[[Client], Awaitable[int]],
    *,
    on_retry: Callable[[TaskcastError], None] | None = None,
    on_interrupt: Callable[[], str] = lambda: "Interrupted.",
) -> NoReturn:
    """Run a command with a client of the gateway at `server`, and exit with the status that it returns.

    `on_retry` is told what went wrong before each further try; by default a user at a terminal hears of the first.
    `on_interrupt` gives the sentence to say after Ctrl-C.
    """

    async def main() -> int:
        async with Client(server, deadline=CALL_SECONDS, on_retry=lambda error, _pause: say(error)) as client:
            return await command(client)

    say = on_retry or _say_once()
    try:
        status = asyncio.run(main())
    except TaskcastError as error:
        fail(f"{error}{_advice(error)}")
    except KeyboardInterrupt:
        typer.echo(on_interrupt(), err=True)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(status)


def fail(sentence: str) -> NoReturn:
    """Say what went wrong, and exit with 1."""
    say_error(sentence)
    raise typer.Exit(FAILED)


def say_error(sentence: str) -> None:
    """Say what went wrong, on standard error."""
    typer.echo(f"Error: {sentence}", err=True)


def _say_once() -> Callable[[TaskcastError], None]:
    said = False

    def say(error: TaskcastError) -> None:
        nonlocal said
        if not said and sys.stderr.isatty():
            said = True
            typer.echo(f"{error} Trying again for up to {CALL_SECONDS:g} s.", err=True)

    return say


def _advice(error: TaskcastError) -> str:
    if error.may_pass and not error.reason:
        return " Start one with `taskcast dev`, or name another with --server or TASKCAST_SERVER."
    return ""
