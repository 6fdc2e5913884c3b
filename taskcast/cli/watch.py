"""`taskcast watch`."""

from __future__ import annotations

from typing import Annotated

import typer

from taskcast.cli.filters import parse_filter
from taskcast.cli.follow import follow, how_to_go_on
from taskcast.cli.follow_many import follow_many, follow_matching, how_to_go_on_with_many
from taskcast.cli.many_screens import many_screen_for
from taskcast.cli.many_view import ManyView
from taskcast.cli.screens import screen_for
from taskcast.cli.session import run
from taskcast.cli.view import TaskView


def watch(
    context: typer.Context,
    task_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="The ids of the tasks.", show_default=False)
    ] = None,
    *,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help="Follow all tasks that match, from now on: status, type, queue or label.KEY; may be repeated.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Follow every task, from now on.")] = False,
    after: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="SEQUENCE", help="Begin after this event; 0 shows the whole history. For one task only."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Follow tasks live: named ones until they have finished, or all that match a filter until Ctrl-C.

    With ids the exit status is 0 if all succeed, 1 if not, and 130 after Ctrl-C, which does not cancel anything.
    """
    ids = list(dict.fromkeys(task_ids or []))
    if sum((bool(ids), bool(filter_), every)) != 1:
        raise typer.BadParameter("Name what to watch in one of three ways: ids of tasks, --filter, or --all.")
    if after is not None and len(ids) != 1:
        raise typer.BadParameter("It is for one task only.", param_hint="--after")
    if not ids:
        matching = parse_filter(filter_ or [])
        run(
            context.obj,
            lambda client: follow_matching(client, matching, as_json=as_json),
            on_interrupt=lambda: "Stopped watching.",
        )
    if len(ids) > 1:
        many = ManyView(ids)
        screen_of_many = many_screen_for(many, as_json=as_json)
        run(
            context.obj,
            lambda client: follow_many(client, many, screen_of_many),
            on_retry=screen_of_many.lost,
            on_interrupt=lambda: how_to_go_on_with_many(context.obj, ids),
        )
    view = TaskView(ids[0])
    screen = screen_for(view, as_json=as_json)
    run(
        context.obj,
        lambda client: follow(client, view, screen, after),
        on_retry=screen.lost,
        on_interrupt=lambda: how_to_go_on(context.obj, view.id),
    )
