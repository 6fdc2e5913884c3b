"""`taskcast batch`."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf import json_format

from taskcast.cli.batch_file import WrongLinesError, read_batch
from taskcast.cli.follow_many import follow_many, how_to_go_on_with_many
from taskcast.cli.many_screens import many_screen_for
from taskcast.cli.many_view import ManyView
from taskcast.cli.session import FAILED, SUCCEEDED, WRONG_USAGE, run, say_error
from taskcast.client import TaskcastError
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskcast.cli.batch_file import Line
    from taskcast.cli.many_screens import ManyScreen
    from taskcast.client import Client, Outcome


def batch(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help='A task a line, like {"type": "x", "payload": 1}; - is standard input.'),
    ],
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Follow all tasks to their end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Submit many tasks from a file and print their ids in its order, or follow them with --watch.

    Each line is a SubmitTaskRequest in JSON, as POST /tasks takes it. A line that is no such thing is named, and
    nothing is submitted (exit status 2). A task that the gateway refuses is named, too, and stops no other.
    The exit status is 0 if all were submitted and, with --watch, all succeed; 1 if not; 130 after Ctrl-C, which
    does not cancel anything.
    """
    try:
        lines = read_batch(file)
    except WrongLinesError as error:
        say_error(str(error))
        raise typer.Exit(WRONG_USAGE) from None
    submitted: list[str] = []
    screens: list[ManyScreen] = []

    async def command(client: Client) -> int:
        outcomes = await client.submit_many(line.request for line in lines)
        tasks = [outcome for outcome in outcomes if isinstance(outcome, task_pb2.Task)]
        submitted.extend(task.id for task in tasks)
        _report(lines, outcomes, ids=not watch, as_json=as_json)
        status = SUCCEEDED if len(tasks) == len(lines) else FAILED
        if not (watch and tasks):
            return status
        many = ManyView(submitted)
        screens.append(many_screen_for(many, as_json=as_json))
        return max(await follow_many(client, many, screens[0]), status)

    def lost(error: TaskcastError) -> None:
        for screen in screens:
            screen.lost(error)

    def interrupted() -> str:
        if submitted:
            return how_to_go_on_with_many(context.obj, submitted)
        return "Interrupted before the gateway answered. Tasks may have been submitted: taskcast list shows them."

    run(context.obj, command, on_retry=lost if watch else None, on_interrupt=interrupted)


def _report(lines: Sequence[Line], outcomes: Sequence[Outcome], *, ids: bool, as_json: bool) -> None:
    """Say what became of each line: the ids if they are wanted, and what was refused."""
    for line, outcome in zip(lines, outcomes, strict=True):
        if isinstance(outcome, TaskcastError):
            if as_json:
                refusal = {"code": outcome.code.name, "reason": outcome.reason, "message": outcome.message}
                _echo_json({"line": line.number, "error": refusal})
            else:
                say_error(f"line {line.number}: {outcome}")
        elif ids and as_json:
            _echo_json({"line": line.number, "task": json_format.MessageToDict(outcome)})
        elif ids:
            typer.echo(outcome.id)


def _echo_json(document: object) -> None:
    typer.echo(json.dumps(document, separators=(",", ":")))
