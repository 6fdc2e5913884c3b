"""`taskcast get`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from taskcast.cli import words
from taskcast.cli.session import SUCCEEDED, run
from taskcast.cli.view import TaskView
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskcast.client import Client

_STYLES = {
    task_pb2.TASK_STATUS_SUCCESS: "bold green",
    task_pb2.TASK_STATUS_FAILED: "bold red",
    task_pb2.TASK_STATUS_ERROR: "bold red",
    task_pb2.TASK_STATUS_TIMEOUT: "bold red",
    task_pb2.TASK_STATUS_CANCELLED: "bold yellow",
}


def get(
    context: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole task as one line of JSON.")] = False,
) -> None:
    """Show a task."""

    async def command(client: Client) -> int:
        task = await client.get(task_id)
        if as_json:
            typer.echo(words.to_json(task))
        else:
            show(task, Console(highlight=False))
        return SUCCEEDED

    run(context.obj, command)


def show(task: task_pb2.Task, console: Console) -> None:
    """Print a line for each thing there is to know."""
    for name, text in describe(task):
        style = _STYLES.get(task.status, "bold") if name == "status" else ""
        console.print(Text.assemble((f"{name:<13}", "dim"), (text, style)), soft_wrap=True)


def describe(task: task_pb2.Task) -> Iterator[tuple[str, str]]:
    """Names and texts of what is set, in the order in which people ask."""
    view = TaskView(task.id)
    view.take_task(task)
    yield "id", task.id
    yield "type", words.one_line(task.type)
    yield "status", words.status_word(task.status)
    progress = (
        "" if view.progress is None else words.one_line(view.progress.message),
        view.counts,
        "" if view.percent is None or view.progress is None else f"{view.percent:.0f} %",
    )
    if any(progress):
        yield "progress", "  ".join(part for part in reversed(progress) if part)
    if task.HasField("result"):
        yield "result", words.value_line(task.result, task.id)
    if task.HasField("error"):
        yield "error", words.error_line(task.error)
    if task.cancel_reason:
        yield "cancelled", words.one_line(task.cancel_reason)
    if task.HasField("payload"):
        yield "payload", words.value_line(task.payload, task.id)
    if task.labels:
        yield "labels", ", ".join(f"{key}={words.one_line(task.labels[key])}" for key in sorted(task.labels))
    yield "queue", f"{task.queue}, {task_pb2.TaskPriority.Name(task.priority).removeprefix('TASK_PRIORITY_').lower()}"
    yield from _attempts(task)
    yield from _times(task)
    yield "sequence", str(task.sequence)


def _attempts(task: task_pb2.Task) -> Iterator[tuple[str, str]]:
    for attempt in task.attempts:
        parts = [words.moment(attempt.start_time), f"on {words.one_line(attempt.worker)}" if attempt.worker else ""]
        if attempt.HasField("error"):
            parts.append(words.error_line(attempt.error))
        yield f"attempt {attempt.number}", "  ".join(part for part in parts if part)


def _times(task: task_pb2.Task) -> Iterator[tuple[str, str]]:
    for name, field in {
        "submitted": "create_time",
        "scheduled": "schedule_time",
        "started": "start_time",
        "next attempt": "next_attempt_time",
        "ended": "end_time",
        "kept until": "expire_time",
    }.items():
        if task.HasField(field):  # type: ignore[arg-type]
            yield name, words.moment(getattr(task, field))
