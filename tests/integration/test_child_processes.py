"""The child processes of a worker: when they are started, kept, replaced and ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from shared.domain.commands import Retry, Succeed
from shared.domain.task import TaskSpec
from shared.json_values import decode_json, encode_json
from tests.deadlines import eventually_async
from tests.unit.domain.lives import processing
from worker_service import TaskContext
from worker_service.context import Interruption
from worker_service.runners import process
from worker_service.runners.process import ProcessRunner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from worker_service.outcome import Outcome

TYPE = "child.pid"
MODULE = f"""
import os, time
from worker_service import task

@task({TYPE!r}, isolation="process")
def pid(ctx, payload):
    if payload == "exit":
        os._exit(9)
    if payload == "exhaust":
        os.closerange(3, 100)
        time.sleep(100)
    time.sleep(payload)
    return os.getpid()
"""


class Children:
    """A runner, and calls of a handler that tells in which process it runs."""

    def __init__(self, module: str) -> None:
        self.runner = ProcessRunner(
            [module], kill_grace=0.3, max_result_bytes=1_000, log_level="INFO", log_format="json"
        )

    def begin(self, payload: Any) -> tuple[TaskContext, asyncio.Task[Outcome]]:
        task = processing(TaskSpec(type=TYPE, payload=encode_json(payload, "payload")), attempt=1).task
        assert task is not None
        context = TaskContext(task, report=lambda _: None, loop=asyncio.get_running_loop())
        # The child finds the handler by its type.
        return context, asyncio.create_task(self.runner.run(None, task, context))  # type: ignore[arg-type]

    async def outcome(self, payload: Any) -> Outcome:
        async with asyncio.timeout(30):
            return await self.begin(payload)[1]

    async def pid(self, seconds: float = 0) -> int:
        outcome = await self.outcome(seconds)
        assert isinstance(outcome, Succeed)
        pid = decode_json(outcome.result)
        assert isinstance(pid, int)
        return pid


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_prefix: str) -> Callable[[str], str]:
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str) -> str:
        name = f"children_{key_prefix.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


@pytest.fixture
async def children(module: Callable[[str], str]) -> AsyncIterator[Children]:
    children = Children(module(MODULE))
    yield children
    await children.runner.close()


async def test_a_child_is_used_again_and_one_more_is_started_only_when_all_are_busy(children: Children) -> None:
    first = await children.pid()
    assert await children.pid() == first
    both = await asyncio.gather(children.pid(0.5), children.pid(0.5))
    assert first in both
    assert len(set(both)) == 2


async def test_a_child_that_crashed_is_never_used_again(children: Children) -> None:
    first = await children.pid()
    assert isinstance(await children.outcome("exit"), Retry)
    assert await children.pid() != first


async def test_a_child_that_closes_its_pipes_is_ended_and_its_attempt_as_well(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "EXIT_SECONDS", 0.3)
    outcome = await children.outcome("exhaust")
    assert isinstance(outcome, Retry)
    assert outcome.error.code == "PROCESS_EXITED"


async def test_idle_children_end_but_for_the_last(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "IDLE_SECONDS", 0.2)
    await asyncio.gather(*(children.pid(0.3) for _ in range(3)))

    async def thinned_out() -> bool:
        return len(children.runner._all) == 1

    await eventually_async(thinned_out, within=10, what="all children but one to end")
    assert len({await children.pid() for _ in range(3)}) == 1


async def test_handlers_that_cannot_be_loaded_in_a_child_end_the_attempt_with_the_reason(
    module: Callable[[str], str],
) -> None:
    children = Children(module("raise RuntimeError('no licence in this process')"))
    outcome = await children.outcome(0)
    assert isinstance(outcome, Retry)
    assert outcome.error.code == "PROCESS_NOT_STARTED"
    assert "no licence in this process" in outcome.error.message
    await children.runner.close()


async def test_an_attempt_that_is_cancelled_while_its_child_starts_leaves_no_process(children: Children) -> None:
    for turns in range(1, 6):
        context, job = children.begin(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        context.interrupt(Interruption.ENDED)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
    assert not children.runner._all
