"""Handlers that tests run in real workers.

Each execution appends lines to a ledger, the file that TASKCAST_TEST_LEDGER names, so that a test can count
executions and see what a handler was told. Handlers that wait do so for a file, a gate, to appear.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from worker_service import RetryLater, TaskContext, TaskFailed, task

Payload = dict[str, Any]

POLL_SECONDS = 0.02


def note(ctx: TaskContext, what: str) -> None:
    """Append a line to the ledger. One short write to a file opened for appending is never torn."""
    line = {"task_id": ctx.task_id, "attempt": ctx.attempt, "what": what, "pid": os.getpid(), "at": time.monotonic()}
    file = os.open(os.environ["TASKCAST_TEST_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


def is_open(gate: str, attempt: int) -> bool:
    """Whether the gate is open for every attempt, or for this one."""
    return Path(gate).exists() or Path(f"{gate}-{attempt}").exists()


@task("test.echo")
async def echo(ctx: TaskContext, payload: Any) -> Any:
    """Give the payload back."""
    note(ctx, "ran")
    return payload


@task("test.steps", attempt_timeout=0)
async def steps(ctx: TaskContext, payload: Payload) -> Payload:
    """Report progress `steps` times, with `pause` seconds after each."""
    note(ctx, "ran")
    count = int(payload.get("steps", 3))
    for step in range(count):
        await ctx.progress(completed=step + 1, total=count, message=f"step {step + 1}")
        await asyncio.sleep(payload.get("pause", 0.0))
    return {"steps": count, "attempt": ctx.attempt}


@task("test.hold", attempt_timeout=0)
async def hold(ctx: TaskContext, payload: Payload) -> Payload:
    """Run until `gate` opens; with `report`, tell of it all the while. It obeys a cancellation, and notes it."""
    note(ctx, "ran")
    seen = 0
    try:
        await ctx.progress(message="holding")
        while not is_open(payload["gate"], ctx.attempt):
            if payload.get("report"):
                seen += 1
                await ctx.progress(completed=seen, message="still holding")
            await asyncio.sleep(POLL_SECONDS)
    except asyncio.CancelledError:
        note(ctx, "told")
        raise
    return {"attempt": ctx.attempt}


@task("test.stubborn", attempt_timeout=0)
async def stubborn(ctx: TaskContext, payload: Payload) -> Payload:
    """Like test.hold, but it only notes a cancellation and goes on; at the end it reports, and returns."""
    note(ctx, "ran")
    await ctx.progress(message="holding")
    while not is_open(payload["gate"], ctx.attempt):
        try:
            await asyncio.sleep(POLL_SECONDS)
        except asyncio.CancelledError:
            note(ctx, "told" if ctx.cancelled else "cancelled without being told")
    await ctx.progress(percent=99, message=f"late progress of attempt {ctx.attempt}")
    note(ctx, "returned")
    return {"attempt": ctx.attempt}


@task("test.linger")
async def linger(ctx: TaskContext, payload: Payload) -> Payload:
    """Run until `gate` opens, and leave the time that it may take to the submission and the worker's settings."""
    note(ctx, "ran")
    while not is_open(payload["gate"], ctx.attempt):  # noqa: ASYNC110  # What opens it is a file.
        await asyncio.sleep(POLL_SECONDS)
    return {"attempt": ctx.attempt}


@task("test.thread", attempt_timeout=0)
def in_a_thread(ctx: TaskContext, payload: Payload) -> Payload:
    """Like test.hold, in a thread, where `ctx.progress` raises once the handler should stop."""
    note(ctx, "ran")
    try:
        while not is_open(payload["gate"], ctx.attempt):
            ctx.progress(message="holding")
            time.sleep(POLL_SECONDS)
    except BaseException:
        note(ctx, "told")
        raise
    return {"attempt": ctx.attempt}


@task("test.deaf_thread", attempt_timeout=0)
def deaf(ctx: TaskContext, payload: Payload) -> Payload:
    """Run in a thread until `gate` opens, and listen to nobody."""
    note(ctx, "ran")
    while not is_open(payload["gate"], ctx.attempt):
        time.sleep(POLL_SECONDS)
    return {"attempt": ctx.attempt}


@task("test.blocks_the_loop", attempt_timeout=0)
async def blocks_the_loop(ctx: TaskContext, payload: Payload) -> Payload:
    """Hold up the worker's event loop for `seconds`, as no handler should."""
    note(ctx, "ran")
    time.sleep(payload["seconds"])  # noqa: ASYNC251  # That it blocks is the point.
    note(ctx, "returned")
    return {"attempt": ctx.attempt}


@task("test.boom", max_attempts=2, initial_backoff=0.1)
async def boom(ctx: TaskContext, payload: Any) -> None:
    """Raise what nobody expects."""
    note(ctx, "ran")
    raise RuntimeError(f"boom {payload}")


@task("test.flaky", max_attempts=10, initial_backoff=0.05, backoff_multiplier=1)
async def flaky(ctx: TaskContext, payload: Payload) -> Payload:
    """Raise until the attempt whose number is `succeeds_at`."""
    note(ctx, "ran")
    if ctx.attempt < payload["succeeds_at"]:
        raise ConnectionError(f"attempt {ctx.attempt}")
    return {"attempt": ctx.attempt, "filler": payload.get("filler", "")}


@task("test.later", max_attempts=2)
async def later(ctx: TaskContext, payload: Payload) -> Payload:
    """Ask once for another attempt `after` so many seconds."""
    note(ctx, "ran")
    if ctx.attempt == 1:
        raise RetryLater(after=payload["after"], message="not yet")
    return {"attempt": ctx.attempt}


@task("test.fail")
async def fail(ctx: TaskContext, _payload: Any) -> None:
    """Say that the task cannot succeed."""
    note(ctx, "ran")
    raise TaskFailed("NO_LUCK", "there is nothing to be done")


@task("test.returns")
async def returns(ctx: TaskContext, payload: Payload) -> object:
    """Return what the test asks for: something that JSON cannot hold, or `bytes` characters of text."""
    note(ctx, "ran")
    what = payload.get("what")
    if what == "set":
        return {1, 2}
    if what == "nan":
        return float("nan")
    if what == "keys":
        return {1: "an integer for a key"}
    return "x" * int(payload["bytes"])


@task("test.poison", attempt_timeout=0)
async def poison(ctx: TaskContext, _payload: Any) -> None:
    """End the process in which it runs, as a crash would."""
    note(ctx, "ran")
    os._exit(13)
