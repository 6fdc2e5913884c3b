"""`taskcast list`."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from taskcast.cli import words
from taskcast.cli.filters import Status, make_filter, parse_moment
from taskcast.cli.session import SUCCEEDED, run
from taskcast.cli.table import show_table, status_text
from taskcast.cli.view import TaskView

if TYPE_CHECKING:
    from rich.text import Text

    from taskcast.client import Client
    from taskcast.v1 import task_pb2
    from taskcast.v1.task_service_pb2 import TaskFilter

_LARGEST_PAGE = 1_000
_TITLES = ("ID", "TYPE", "STATUS", "DONE", "QUEUE", "TRY", "AGE", "LABELS")


def list_tasks(
    context: typer.Context,
    *,
    status: Annotated[
        list[Status] | None,
        typer.Option(metavar="STATUS", help=f"With this status ({', '.join(Status)}); may be repeated."),
    ] = None,
    task_type: Annotated[str, typer.Option("--type", help="Of this type.", show_default=False)] = "",
    queue: Annotated[str, typer.Option(help="In this queue.", show_default=False)] = "",
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="With this label; may be repeated, all must be there.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(parser=parse_moment, metavar="TIME", help="Submitted at this time or later, or so long ago: 2h."),
    ] = None,
    before: Annotated[
        datetime | None, typer.Option(parser=parse_moment, metavar="TIME", help="Submitted before this time.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many at most; 0 shows all.")] = 20,
    ids: Annotated[bool, typer.Option("--ids", help="Print the ids only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one task a line.")] = False,
) -> None:
    """Show tasks, newest first."""
    matching = make_filter(
        statuses=status or [], type_=task_type, queue=queue, labels=label or [], since=since, before=before
    )

    async def command(client: Client) -> int:
        if as_json or ids:
            shown, more = 0, False
            async with aclosing(client.list(matching, page_size=_page_size(limit))) as tasks:
                async for task in tasks:
                    if more := bool(limit) and shown == limit:
                        break
                    typer.echo(words.to_json(task) if as_json else task.id)
                    shown += 1
        else:
            found, more = await _collect(client, matching, limit)
            if found:
                show_table(_TITLES, [_row(task) for task in found], flexible="LABELS")
            else:
                typer.echo("There are no such tasks.", err=True)
        if more:
            typer.echo(f"There are more: these are the newest {limit}. See --limit.", err=True)
        return SUCCEEDED

    run(context.obj, command)


async def _collect(client: Client, matching: TaskFilter, limit: int) -> tuple[list[task_pb2.Task], bool]:
    """The tasks, and whether there are more than so many."""
    found: list[task_pb2.Task] = []
    async with aclosing(client.list(matching, page_size=_page_size(limit))) as tasks:
        async for task in tasks:
            if limit and len(found) == limit:
                return found, True
            found.append(task)
    return found, False


def _page_size(limit: int) -> int:
    # One more than is shown tells whether there are more.
    return min(limit + 1, _LARGEST_PAGE) if limit else _LARGEST_PAGE


def _row(task: task_pb2.Task) -> tuple[str | Text, ...]:
    view = TaskView(task.id)
    view.take_task(task)
    return (
        task.id,
        task.type,
        status_text(task.status),
        "" if view.percent is None else f"{view.percent:.0f} %",
        task.queue,
        str(task.attempt or ""),
        words.seconds(datetime.now(UTC) - task.create_time.ToDatetime(tzinfo=UTC)),
        ", ".join(f"{key}={task.labels[key]}" for key in sorted(task.labels)),
    )
