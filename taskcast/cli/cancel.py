"""`taskcast cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from taskcast.cli import words
from taskcast.cli.session import FAILED, SUCCEEDED, run, say_error
from taskcast.client import TaskcastError

if TYPE_CHECKING:
    from taskcast.client import Client, Outcome


def cancel(
    context: typer.Context,
    task_ids: Annotated[list[str], typer.Argument(metavar="ID", help="The ids of the tasks.")],
    *,
    reason: Annotated[str, typer.Option(help="Why, for people.", show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one task a line.")] = False,
) -> None:
    """Cancel tasks that have not finished.

    The exit status is 0 if all are cancelled now, else 1, with a sentence for each that is not.
    """

    async def command(client: Client) -> int:
        if len(task_ids) == 1:
            outcomes: list[Outcome] = [await client.cancel(task_ids[0], reason)]
        else:
            outcomes = await client.cancel_many(task_ids, reason)
        for outcome in outcomes:
            if isinstance(outcome, TaskcastError):
                say_error(str(outcome))
            else:
                typer.echo(words.to_json(outcome) if as_json else f"Task {outcome.id} is cancelled.")
        return FAILED if any(isinstance(outcome, TaskcastError) for outcome in outcomes) else SUCCEEDED

    run(context.obj, command)
