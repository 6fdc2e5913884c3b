"""One behaviour, as a handler in every place where handlers run; `tests/command_handler.py` is the same as a command.

What it does is said by the payload's `do`; see `behave`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.handlers import POLL_SECONDS, is_open, note
from worker_service import RetryLater, TaskContext, TaskFailed, task

if TYPE_CHECKING:
    from collections.abc import Callable

Payload = dict[str, Any]

COMMAND = [sys.executable, "-S", "-E", str(Path(__file__).with_name("command_handler.py"))]
"""Without site packages it starts quickly."""

TERMS: dict[str, Any] = {"max_attempts": 2, "initial_backoff": 0.05}


def write_command_file(path: Path) -> Path:
    """A TOML file with the behaviour as type `any.command`."""
    terms = "\n".join(f"{name} = {value}" for name, value in TERMS.items())
    path.write_text(f'[[handler]]\ntype = "any.command"\ncommand = {json.dumps(COMMAND)}\n{terms}\n', encoding="utf-8")
    return path


def behave(ctx: TaskContext, payload: Payload) -> object:  # noqa: C901, PLR0912  # One case a behaviour.
    """All that needs no waiting."""
    note(ctx, "ran")
    match payload["do"]:
        case "return":
            return payload.get("value")
        case "see":
            return {"attempt": ctx.attempt, "labels": dict(ctx.labels), "deadline": str(ctx.deadline)}
        case "large":
            return "x" * payload["bytes"]
        case "nan":
            return float("nan")
        case "set":
            return {1, 2}
        case "fail":
            raise TaskFailed("NO_LUCK", "there is nothing to be done")
        case "later" if ctx.attempt == 1:
            raise RetryLater(after=payload["after"], message="not yet")
        case "boom":
            raise RuntimeError("boom")
        case "nonsense progress":
            ctx.progress(percent=500)
        case "exit":
            os._exit(payload["code"])
        case "signal":
            os.kill(os.getpid(), signal.Signals[payload["name"]])
        case "exit once" if ctx.attempt == 1:
            os._exit(3)
        case "print":
            print("words for the log")  # That standard output is taken is the point.
        case _:
            pass
    return {"attempt": ctx.attempt}


def steps(payload: Payload) -> list[dict[str, Any]]:
    """What it reports before it does what it does."""
    count = payload.get("steps", 0)
    return [{"completed": step, "total": count, "message": f"step {step}"} for step in range(1, count + 1)]


def _in_a_thread(ctx: TaskContext, payload: Payload) -> object:
    for step in steps(payload):
        ctx.progress(**step)
    if payload["do"] == "hold":
        note(ctx, "ran")
        ctx.progress(message="holding")
        while not is_open(payload["gate"], ctx.attempt):
            if ctx.cancelled:
                note(ctx, "told")
                ctx.progress(message="raises")
            time.sleep(POLL_SECONDS / 10)
    elif payload["do"] == "ignore":
        note(ctx, "ran")
        ctx.progress(message="ignoring")
        while not is_open(payload["gate"], ctx.attempt):
            time.sleep(POLL_SECONDS)
    return behave(ctx, payload)


async def _on_a_loop(ctx: TaskContext, payload: Payload) -> object:
    for step in steps(payload):
        await ctx.progress(**step)
    if payload["do"] == "hold":
        note(ctx, "ran")
        await ctx.progress(message="holding")
        try:
            while not is_open(payload["gate"], ctx.attempt):  # noqa: ASYNC110  # A gate is a file: other processes open it.
                await asyncio.sleep(POLL_SECONDS)
        except asyncio.CancelledError:
            note(ctx, "told")
            raise
    elif payload["do"] == "ignore":
        note(ctx, "ran")
        await ctx.progress(message="ignoring")
        while not is_open(payload["gate"], ctx.attempt):
            try:
                await asyncio.sleep(POLL_SECONDS)
            except asyncio.CancelledError:
                continue
    return behave(ctx, payload)


def _declare(type_: str, function: Callable[..., Any], **more: Any) -> Any:
    return task(type_, **TERMS, **more)(function)


on_the_loop = _declare("any.loop", _on_a_loop)
in_a_thread = _declare("any.thread", _in_a_thread)
in_a_process = _declare("any.process", _in_a_thread, isolation="process")
on_a_loop_in_a_process = _declare("any.process.async", _on_a_loop, isolation="process")
