"""`taskcast retry`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from taskcast.cli import words
from taskcast.cli.follow import follow, how_to_go_on
from taskcast.cli.screens import screen_for
from taskcast.cli.session import SUCCEEDED, run
from taskcast.cli.view import TaskView

if TYPE_CHECKING:
    from taskcast.client import Client


def retry(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a task that did not succeed.")],
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the new task to its end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Submit a new task like a finished one that did not succeed, and print its id, or follow it with --watch."""
    view = TaskView("")
    screen = screen_for(view, as_json=as_json)

    async def command(client: Client) -> int:
        task = await client.retry(task_id)
        view.id = task.id
        view.take_task(task)
        if not watch:
            typer.echo(words.to_json(task) if as_json else task.id)
            return SUCCEEDED
        if not as_json:
            typer.echo(f"Task {task.id}")
        return await follow(client, view, screen, after_sequence=0)

    def interrupted() -> str:
        if view.id:
            return how_to_go_on(context.obj, view.id)
        return "Interrupted before the gateway answered. The new task may be there: taskcast list shows it."

    run(context.obj, command, on_retry=screen.lost if watch else None, on_interrupt=interrupted)
