"""`taskcast cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from taskcast.cli import words
from taskcast.cli.session import SUCCEEDED, run

if TYPE_CHECKING:
    from taskcast.client import Client


def cancel(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.")],
    *,
    reason: Annotated[str, typer.Option(help="Why, for people.", show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the task as one line of JSON.")] = False,
) -> None:
    """Cancel a task that has not finished."""

    async def command(client: Client) -> int:
        task = await client.cancel(task_id, reason)
        typer.echo(words.to_json(task) if as_json else f"Task {task.id} is cancelled.")
        return SUCCEEDED

    run(context.obj, command)
