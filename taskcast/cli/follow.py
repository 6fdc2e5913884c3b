"""Following a task on a screen, up to an exit status."""

from __future__ import annotations

import shlex
from contextlib import aclosing
from typing import TYPE_CHECKING

from taskcast.cli.session import FAILED, SUCCEEDED
from taskcast.client import DEFAULT_ADDRESS

if TYPE_CHECKING:
    from taskcast.cli.screens import Screen
    from taskcast.cli.view import TaskView
    from taskcast.client import Client

HEARTBEAT_SECONDS = 3.0
"""Short, as the end of "reconnecting…" is seen by a heartbeat."""


async def follow(client: Client, view: TaskView, screen: Screen, after_sequence: int | None) -> int:
    """Show the task until it has finished; 0 if it succeeded, else 1."""
    with screen:
        watch = client.watch(view.id, after_sequence, heartbeats=True, heartbeat_interval=HEARTBEAT_SECONDS)
        async with aclosing(watch) as updates:
            async for update in updates:
                screen.found()
                if not update.HasField("heartbeat"):
                    view.take(update)
                    screen.show(update)
        if not view.finished:
            # Nothing had happened after the sequence that the watch began with: the task had finished before.
            view.take_task(await client.get(view.id))
        screen.end()
    return SUCCEEDED if view.succeeded else FAILED


def how_to_go_on(server: str, task_id: str) -> str:
    """What to say to someone who stops watching."""
    option = "" if server == DEFAULT_ADDRESS else f" --server {shlex.quote(server)}"
    return f"Interrupted. The task goes on; watch it again with: taskcast{option} watch {shlex.quote(task_id)}"
