"""`taskcast workers`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from taskcast.cli import words
from taskcast.cli.session import SUCCEEDED, run
from taskcast.cli.table import show_table

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from taskcast.client import Client
    from taskcast.v1.admin_service_pb2 import Worker

_TITLES = ("WORKER", "RUNNING", "QUEUES", "UP", "SEEN", "VERSION", "TYPES")


def workers(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one worker a line.")] = False,
) -> None:
    """Show the workers: what they can run, and how busy they are."""

    async def command(client: Client) -> int:
        found = await client.workers()
        if as_json:
            for worker in found:
                typer.echo(words.to_json(worker))
        elif found:
            show_table(_TITLES, [_row(worker) for worker in found], flexible="TYPES")
        else:
            typer.echo("No worker has reported lately.", err=True)
        return SUCCEEDED

    run(context.obj, command)


def _row(worker: Worker) -> tuple[str, ...]:
    return (
        worker.name,
        f"{worker.running}/{worker.slots}",
        ", ".join(worker.queues),
        _ago(worker.start_time) if worker.HasField("start_time") else "",
        f"{_ago(worker.last_heartbeat_time)} ago" if worker.HasField("last_heartbeat_time") else "",
        worker.version,
        ", ".join(worker.types),
    )


def _ago(time: Timestamp) -> str:
    return words.seconds(datetime.now(UTC) - time.ToDatetime(tzinfo=UTC))
