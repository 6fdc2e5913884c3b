"""`taskcast queues`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from taskcast.cli import words
from taskcast.cli.session import SUCCEEDED, run
from taskcast.cli.table import show_table

if TYPE_CHECKING:
    from taskcast.client import Client
    from taskcast.v1.admin_service_pb2 import Queue

_TITLES = ("QUEUE", "WAITING", "HIGH", "NORMAL", "LOW", "OLDEST", "RUNNING", "DELAYED", "WORKERS", "DONE/S")


def queues(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one queue a line.")] = False,
) -> None:
    """Show the queues: what waits, runs and is delayed, and how fast tasks finish."""

    async def command(client: Client) -> int:
        found = await client.queues()
        if as_json:
            for queue in found:
                typer.echo(words.to_json(queue))
        elif found:
            show_table(_TITLES, [_row(queue) for queue in found], flexible="QUEUE")
        else:
            typer.echo("No queue holds a task or has a worker.", err=True)
        return SUCCEEDED

    run(context.obj, command)


def _row(queue: Queue) -> tuple[str, ...]:
    waiting = queue.waiting
    return (
        queue.name,
        words.count(waiting.high + waiting.normal + waiting.low),
        words.count(waiting.high),
        words.count(waiting.normal),
        words.count(waiting.low),
        words.seconds(queue.oldest_waiting_age.ToTimedelta()) if queue.HasField("oldest_waiting_age") else "",
        words.count(queue.running),
        words.count(queue.delayed),
        words.count(queue.consumers),
        f"{queue.rate:.1f}",
    )
