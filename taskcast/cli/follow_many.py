"""Following many tasks on a screen: named ones up to an exit status, or all that match a filter without end."""

from __future__ import annotations

import shlex
from contextlib import aclosing
from typing import TYPE_CHECKING

import typer

from taskcast.cli import words
from taskcast.cli.follow import HEARTBEAT_SECONDS
from taskcast.cli.session import FAILED, SUCCEEDED
from taskcast.cli.view import TaskView
from taskcast.client import DEFAULT_ADDRESS
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskcast.cli.many_screens import ManyScreen
    from taskcast.cli.many_view import ManyView
    from taskcast.client import Client
    from taskcast.v1.task_service_pb2 import TaskFilter, WatchTasksResponse

_MOST_IDS_TO_TELL = 5


async def follow_many(client: Client, many: ManyView, screen: ManyScreen) -> int:
    """Show the tasks until all have finished; 0 if each succeeded, else 1."""
    with screen:
        watch = client.watch_many(many.tasks, heartbeats=True, heartbeat_interval=HEARTBEAT_SECONDS)
        async with aclosing(watch) as updates:
            async for update in updates:
                screen.found()
                if (view := many.take(update)) is not None:
                    screen.show(update, view)
        screen.end()
    return SUCCEEDED if many.all_succeeded else FAILED


def how_to_go_on_with_many(server: str, task_ids: Sequence[str]) -> str:
    """What to say to someone who stops watching."""
    option = "" if server == DEFAULT_ADDRESS else f" --server {shlex.quote(server)}"
    if len(task_ids) > _MOST_IDS_TO_TELL:
        return f"Interrupted. The {len(task_ids)} tasks go on; see them with: taskcast{option} list"
    return f"Interrupted. The tasks go on; watch them again with: taskcast{option} watch {shlex.join(task_ids)}"


async def follow_matching(client: Client, matching: TaskFilter, *, as_json: bool) -> int:
    """Print each event of the tasks that match, until somebody stops it."""
    lines = _EventLines()
    watch = client.watch_filter(matching, heartbeats=True, heartbeat_interval=HEARTBEAT_SECONDS)
    is_live = False
    async with aclosing(watch) as updates:
        async for update in updates:
            if not is_live:
                is_live = True
                typer.echo("Watching. Ctrl-C ends it.", err=True)
            if update.HasField("event"):
                typer.echo(words.to_json(update) if as_json else lines.line(update))
    return SUCCEEDED


class _EventLines:
    """One line for each event of whatever task."""

    def line(self, update: WatchTasksResponse) -> str:
        """Time, id, and what happened."""
        event = update.event
        return f"{words.clock(event.time)}  {event.task_id}  {self._what_happened(update)}"

    def _what_happened(self, update: WatchTasksResponse) -> str:
        event = update.event
        view = TaskView(event.task_id)
        view.take(update)
        match event.type:
            case task_pb2.TaskEvent.TYPE_SUBMITTED:
                return "submitted"
            case task_pb2.TaskEvent.TYPE_STARTED:
                worker = words.one_line(event.worker)
                return f"attempt {event.attempt} started" + (f" on {worker}" if worker else "")
            case task_pb2.TaskEvent.TYPE_PROGRESSED:
                percent = "" if view.percent is None else f"{view.percent:3.0f} %"
                return "  ".join(part for part in (percent, view.counts, view.activity) if part) or "progress"
            case _:
                return view.outcome if view.finished else view.activity or words.status_word(view.status)
