"""The port Runner: what holds wherever a handler runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from shared.domain.commands import Abort, Fail, Retry, Succeed
from shared.domain.task import TaskProgress, TaskSpec
from shared.json_values import decode_json, encode_json
from tests import handlers_anywhere
from tests.deadlines import eventually_async
from tests.unit.domain.lives import processing
from worker_service import TaskCancelled, TaskContext
from worker_service.command_file import read_command_file
from worker_service.context import Interruption
from worker_service.runners.command import CommandRunner
from worker_service.runners.loop import LoopRunner
from worker_service.runners.process import ProcessRunner
from worker_service.runners.thread import ThreadRunner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from worker_service.outcome import Outcome
    from worker_service.registry import AnyHandler, Handler
    from worker_service.runners.runner import Runner

MOST = 100_000
GRACE = 0.5
EVERYWHERE = ["loop", "thread", "process", "command"]
OUTSIDE = ["process", "command"]
"""Where a handler can be killed, and can kill no one else."""


@dataclass
class Running:
    """A handler under way."""

    context: TaskContext
    job: asyncio.Task[Outcome]

    def stop(self, why: Interruption) -> None:
        self.context.interrupt(why)
        self.job.cancel()


@dataclass
class Bench:
    """A runner, and the handler that it runs."""

    place: str
    runner: Runner[Any]
    handler: AnyHandler
    ledger: Path
    reported: list[TaskProgress] = field(default_factory=list)

    def start(self, payload: dict[str, Any], **spec: Any) -> Running:
        asked = TaskSpec(type=self.handler.type, payload=encode_json(payload, "payload"), **spec)
        task = processing(asked, attempt=1).task
        assert task is not None
        context = TaskContext(task, report=self.reported.append, loop=asyncio.get_running_loop())
        return Running(context, asyncio.create_task(self.runner.run(self.handler, task, context)))

    async def run(self, payload: dict[str, Any], **spec: Any) -> Outcome:
        async with asyncio.timeout(30):
            return await self.start(payload, **spec).job

    async def noted(self, what: str) -> None:
        async def look() -> bool:
            return self.ledger.exists() and f'"what": "{what}"' in self.ledger.read_text()

        await eventually_async(look, within=10, what=f"the handler to note {what!r}")


def open_runner(place: str, folder: Path) -> tuple[Runner[Any], AnyHandler]:
    match place:
        case "loop":
            return LoopRunner(max_result_bytes=MOST), handlers_anywhere.on_the_loop
        case "thread":
            return ThreadRunner(threads=2, max_result_bytes=MOST), handlers_anywhere.in_a_thread
        case "command":
            [command] = read_command_file(str(handlers_anywhere.write_command_file(folder / "commands.toml")))
            return CommandRunner(kill_grace=GRACE, max_result_bytes=MOST), command
        case _:
            runner = ProcessRunner(
                ["tests.handlers_anywhere"],
                kill_grace=GRACE,
                max_result_bytes=MOST,
                log_level="INFO",
                log_format="json",
            )
            by_type: dict[str, Handler[..., Any]] = {
                handler.type: handler
                for handler in (handlers_anywhere.in_a_process, handlers_anywhere.on_a_loop_in_a_process)
            }
            return runner, by_type[f"any.{place}"]


@pytest.fixture
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    monkeypatch.setenv("TASKCAST_TEST_LEDGER", str(tmp_path / "ledger"))
    runner, handler = open_runner(request.param, tmp_path)
    yield Bench(request.param, runner, handler, tmp_path / "ledger")
    await runner.close()


everywhere = pytest.mark.parametrize("bench", EVERYWHERE, indirect=True)
outside = pytest.mark.parametrize("bench", OUTSIDE, indirect=True)
# An `async def` in a child process differs from a `def` there in how it is called and stopped.
in_every_way = pytest.mark.parametrize("bench", [*EVERYWHERE, "process.async"], indirect=True)


def error_of(outcome: Outcome) -> tuple[type[Outcome], str, str]:
    assert isinstance(outcome, Fail | Retry | Abort)
    return type(outcome), outcome.error.code, outcome.error.message


# --- Outcomes ------------------------------------------------------------------------------------------------------


@in_every_way
async def test_what_a_handler_returns_is_its_success(bench: Bench) -> None:
    for value in (None, True, 1.5, "ä\u0000🎉", [1, [2]], {"a": {"b": None}}):
        outcome = await bench.run({"do": "return", "value": value})
        assert isinstance(outcome, Succeed)
        assert decode_json(outcome.result) == value


@everywhere
async def test_a_handler_sees_its_attempt_its_labels_and_its_deadline(bench: Bench) -> None:
    outcome = await bench.run({"do": "see"}, labels={"customer": "acme"}, attempt_timeout=5_000)
    assert isinstance(outcome, Succeed)
    seen = decode_json(outcome.result)
    assert isinstance(seen, dict)
    assert (seen["attempt"], seen["labels"]) == (1, {"customer": "acme"})
    assert str(seen["deadline"]).startswith("20")


@in_every_way
async def test_task_failed_retry_later_and_other_exceptions_are_told_apart(bench: Bench) -> None:
    failed = await bench.run({"do": "fail"})
    later = await bench.run({"do": "later", "after": 1.5})
    boom = await bench.run({"do": "boom"})

    assert error_of(failed) == (Fail, "NO_LUCK", "there is nothing to be done")
    assert error_of(later) == (Retry, "RETRY_LATER", "not yet")
    assert isinstance(later, Retry)
    assert later.after == 1_500
    code, message = (
        ("PROCESS_EXITED", "The handler's command ended with exit code 1.")
        if bench.place == "command"
        else ("UNHANDLED_EXCEPTION", "RuntimeError: boom")
    )
    assert error_of(boom) == (Retry, code, message)


@everywhere
async def test_a_result_that_json_cannot_hold_or_that_is_too_large_is_an_error_for_good(bench: Bench) -> None:
    kind, code, message = error_of(await bench.run({"do": "nan"}))
    assert (kind, code) == (Abort, "RESULT_NOT_JSON")
    assert "nan, which JSON cannot hold" in message
    kind, code, message = error_of(await bench.run({"do": "large", "bytes": MOST + 1}))
    assert (kind, code) == (Abort, "RESULT_TOO_LARGE")
    assert f"the limit is {MOST}" in message


@everywhere
async def test_a_large_payload_and_the_largest_result_go_through(bench: Bench) -> None:
    outcome = await bench.run({"do": "large", "bytes": MOST - 10, "filler": "x" * 1_000_000})
    assert isinstance(outcome, Succeed)
    assert len(outcome.result) <= MOST


@everywhere
async def test_nonsense_progress_is_an_error_that_says_so(bench: Bench) -> None:
    kind, code, message = error_of(await bench.run({"do": "nonsense progress"}))
    assert (kind, code) == (Abort, "BAD_OUTPUT") if bench.place == "command" else (Retry, "UNHANDLED_EXCEPTION")
    assert "percent must be between 0 and 100, is 500" in message


@everywhere
async def test_what_a_handler_prints_does_no_harm(bench: Bench) -> None:
    assert isinstance(await bench.run({"do": "print"}), Succeed)


# --- Progress ------------------------------------------------------------------------------------------------------


@everywhere
async def test_progress_arrives_in_order_and_the_last_before_the_outcome(bench: Bench) -> None:
    await bench.run({"do": "return", "steps": 50})
    await asyncio.sleep(0)  # What a thread reports is said on the next turn of the loop.
    seen = [progress.completed for progress in bench.reported]
    assert seen == sorted(set(seen))
    assert seen[-1] == 50
    assert bench.reported[-1].percent == 100.0


# --- The word to stop ----------------------------------------------------------------------------------------------


@in_every_way
async def test_a_handler_is_told_to_stop_at_once_and_the_run_ends_without_an_outcome(
    bench: Bench, tmp_path: Path
) -> None:
    running = bench.start({"do": "hold", "gate": str(tmp_path / "gate")})
    await bench.noted("ran")
    began = time.monotonic()
    running.stop(Interruption.ENDED)
    with pytest.raises((asyncio.CancelledError, TaskCancelled)):
        await running.job
    assert time.monotonic() - began < GRACE, "it was not told but killed"
    await bench.noted("told")


@in_every_way
async def test_a_handler_that_was_told_before_it_began_does_not_run_to_its_end(bench: Bench, tmp_path: Path) -> None:
    running = bench.start({"do": "hold", "gate": str(tmp_path / "gate")})
    running.stop(Interruption.ENDED)
    with pytest.raises((asyncio.CancelledError, TaskCancelled)):
        await running.job


@outside
async def test_a_handler_that_ignores_the_word_is_killed_when_its_grace_is_over(bench: Bench, tmp_path: Path) -> None:
    running = bench.start({"do": "ignore", "gate": str(tmp_path / "gate")})
    await bench.noted("ran")
    began = time.monotonic()
    running.stop(Interruption.SHUTDOWN)
    with pytest.raises(asyncio.CancelledError):
        await running.job
    assert GRACE <= time.monotonic() - began < GRACE + 2


@outside
async def test_closing_a_runner_ends_what_still_runs(bench: Bench, tmp_path: Path) -> None:
    running = bench.start({"do": "ignore", "gate": str(tmp_path / "gate")})
    await bench.noted("ran")
    await bench.runner.close()
    with contextlib.suppress(asyncio.CancelledError):
        assert error_of(await running.job)[:2] == (Retry, "PROCESS_EXITED")


# --- A process that ends by itself ---------------------------------------------------------------------------------


@outside
@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"do": "exit", "code": 3}, "ended with exit code 3"),
        ({"do": "signal", "name": "SIGSEGV"}, "was ended by SIGSEGV"),
        ({"do": "signal", "name": "SIGKILL"}, "was ended by SIGKILL"),
    ],
)
async def test_an_end_of_the_process_is_an_end_of_the_attempt_and_harms_no_other(
    bench: Bench, payload: dict[str, Any], said: str
) -> None:
    neighbour = asyncio.create_task(bench.run({"do": "return", "value": "neighbour"}))
    kind, code, message = error_of(await bench.run(payload))
    assert (kind, code) == (Retry, "PROCESS_EXITED")
    assert said in message
    assert isinstance(await neighbour, Succeed)
    assert isinstance(await bench.run({"do": "return"}), Succeed)
