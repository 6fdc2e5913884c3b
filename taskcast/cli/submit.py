"""`taskcast submit`."""

from __future__ import annotations

import enum
import uuid
from datetime import timedelta  # noqa: TC003  # typer reads the annotations
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Annotated

import typer

from taskcast.cli import words
from taskcast.cli.arguments import parse_duration, parse_labels, read_payload
from taskcast.cli.follow import follow, how_to_go_on
from taskcast.cli.screens import screen_for
from taskcast.cli.session import SUCCEEDED, run
from taskcast.cli.view import TaskView
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from taskcast.client import Client


class Priority(enum.StrEnum):
    """How urgent a task is."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


_PRIORITIES = {
    Priority.LOW: task_pb2.TASK_PRIORITY_LOW,
    Priority.NORMAL: task_pb2.TASK_PRIORITY_NORMAL,
    Priority.HIGH: task_pb2.TASK_PRIORITY_HIGH,
}


def submit(
    context: typer.Context,
    task_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="The name of the handler to run, like image.thumbnail.")
    ],
    source: Annotated[
        str | None, typer.Argument(metavar="[-]", show_default=False, help="- reads the payload from standard input.")
    ] = None,
    *,
    payload: Annotated[
        str | None, typer.Option(metavar="JSON", help="What the handler is given; null if left out.")
    ] = None,
    payload_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file that holds the payload; - is standard input.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A word to find the task by; may be repeated.")
    ] = None,
    queue: Annotated[str, typer.Option(help="The pool of workers.", show_default="default")] = "",
    priority: Annotated[
        Priority | None, typer.Option(help="How urgent it is among the others.", show_default="normal")
    ] = None,
    timeout: Annotated[
        timedelta | None,
        typer.Option(parser=parse_duration, metavar="DURATION", help="For the whole task, like 90s, 5m or 2h."),
    ] = None,
    attempt_timeout: Annotated[
        timedelta | None, typer.Option(parser=parse_duration, metavar="DURATION", help="For one attempt; 0 is none.")
    ] = None,
    max_attempts: Annotated[int | None, typer.Option(min=1, help="How often it is tried at most.")] = None,
    request_id: Annotated[
        str, typer.Option(help="Your name for this submit: used again, it finds the same task.", show_default="random")
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Follow the task to its end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Submit a task and print its id, or follow it with --watch.

    With --watch the exit status is 0 if the task succeeds, 1 if not, and 130 after Ctrl-C, which does not cancel
    the task.
    """
    document = read_payload(payload, payload_file, source)
    labels = parse_labels(label or [])
    # Made here and not by the client, so that it can be told to a user who interrupts.
    request_id = request_id or str(uuid.uuid4())
    view = TaskView("")
    screen = screen_for(view, as_json=as_json)

    async def command(client: Client) -> int:
        task = await client.submit(
            task_type,
            document,
            labels=labels,
            queue=queue,
            priority=_PRIORITIES[priority] if priority else task_pb2.TASK_PRIORITY_UNSPECIFIED,
            timeout=timeout,
            attempt_timeout=attempt_timeout,
            retry_policy=task_pb2.RetryPolicy(max_attempts=max_attempts) if max_attempts else None,
            request_id=request_id,
        )
        view.id = task.id
        view.take_task(task)
        if not watch:
            typer.echo(words.to_json(task) if as_json else task.id)
            return SUCCEEDED
        if not as_json:
            typer.echo(f"Task {task.id}")
        # A new task is told from its beginning. Of one that an earlier submit made, the beginning may be gone.
        return await follow(client, view, screen, after_sequence=0 if task.sequence == 1 else None)

    def interrupted() -> str:
        if view.id:
            return how_to_go_on(context.obj, view.id)
        return (
            "Interrupted before the gateway answered. The task may have been submitted: "
            f"to find out, submit it again with --request-id {request_id}."
        )

    run(context.obj, command, on_retry=screen.lost if watch else None, on_interrupt=interrupted)
