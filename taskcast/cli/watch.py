"""`taskcast watch`."""

from __future__ import annotations

from typing import Annotated

import typer

from taskcast.cli.follow import follow, how_to_go_on
from taskcast.cli.screens import screen_for
from taskcast.cli.session import run
from taskcast.cli.view import TaskView


def watch(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.")],
    *,
    after: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="SEQUENCE", help="Begin after this event; 0 shows the whole history. Default: with now."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Follow a task live until it has finished.

    The exit status is 0 if it succeeds, 1 if not, and 130 after Ctrl-C, which does not cancel the task.
    """
    view = TaskView(task_id)
    screen = screen_for(view, as_json=as_json)
    run(
        context.obj,
        lambda client: follow(client, view, screen, after),
        on_retry=screen.lost,
        on_interrupt=lambda: how_to_go_on(context.obj, task_id),
    )
