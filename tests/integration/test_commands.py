"""Commands that do what they should not, and what becomes of what they start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.domain.commands import Abort, Retry, Succeed
from shared.domain.task import TaskProgress, TaskSpec
from shared.json_values import decode_json, encode_json
from tests.deadlines import eventually, eventually_async
from tests.services import is_alive
from tests.unit.domain.lives import processing
from worker_service import TaskContext
from worker_service.command_file import CommandHandler
from worker_service.context import Interruption
from worker_service.runners import group
from worker_service.runners.command import CommandRunner

if TYPE_CHECKING:
    from worker_service.outcome import Outcome

MOST = 1_000
LONGEST_LINE = 2 * MOST + (64 << 10)


class Shell:
    """Runs shell scripts as handlers."""

    def __init__(self, folder: Path, *, grace: float = 0.3) -> None:
        self.folder = folder
        self.runner = CommandRunner(kill_grace=grace, max_result_bytes=MOST)
        self.reported: list[TaskProgress] = []

    def start(self, script: str, payload: Any = None) -> tuple[TaskContext, asyncio.Task[Outcome]]:
        handler = CommandHandler(type="shell", command=("/bin/sh", "-c", script), folder=self.folder)
        task = processing(TaskSpec(type="shell", payload=encode_json(payload, "payload")), attempt=1).task
        assert task is not None
        context = TaskContext(task, report=self.reported.append, loop=asyncio.get_running_loop())
        return context, asyncio.create_task(self.runner.run(handler, task, context))

    async def run(self, script: str, payload: Any = None) -> Outcome:
        async with asyncio.timeout(20):
            return await self.start(script, payload)[1]

    async def error(self, script: str, payload: Any = None) -> tuple[type[Outcome], str, str]:
        outcome = await self.run(script, payload)
        assert isinstance(outcome, Abort | Retry)
        return type(outcome), outcome.error.code, outcome.error.message


@pytest.fixture
async def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


async def test_silence_and_exit_code_0_are_success_with_null(shell: Shell) -> None:
    outcome = await shell.run("true")
    assert isinstance(outcome, Succeed)
    assert decode_json(outcome.result) is None


async def test_a_result_counts_only_with_exit_code_0(shell: Shell) -> None:
    kind, code, message = await shell.error("""echo '{"result": 1}'; exit 4""")
    assert (kind, code, message) == (Retry, "PROCESS_EXITED", "The handler's command ended with exit code 4.")


async def test_nonsense_ends_the_command_and_the_task(shell: Shell) -> None:
    began = time.monotonic()
    kind, code, message = await shell.error("""echo '{"progress": {}}'; echo; echo hello; sleep 100""")
    assert (kind, code) == (Abort, "BAD_OUTPUT")
    assert message == "Line 3 of the command's standard output: 'hello' is not JSON."
    assert time.monotonic() - began < 5


async def test_words_after_the_outcome_are_nonsense(shell: Shell) -> None:
    _, code, message = await shell.error("""echo '{"result": 1}'; echo '{"progress": {}}'""")
    assert code == "BAD_OUTPUT"
    assert "comes after the outcome" in message


async def test_a_line_without_end_is_refused_before_it_fills_the_memory(shell: Shell) -> None:
    kind, code, message = await shell.error("yes x | tr -d '\\n'")
    assert (kind, code) == (Abort, "BAD_OUTPUT")
    assert f"longer than {LONGEST_LINE} bytes" in message


async def test_a_flood_of_progress_leaves_the_loop_to_others(shell: Shell) -> None:
    context, job = shell.start("""yes '{"progress": {"percent": 50}}'""")

    async def many() -> bool:
        return len(shell.reported) > 1_000

    await eventually_async(many, within=10, what="a thousand reports")
    longest = 0.0
    for _ in range(200):
        began = time.monotonic()
        await asyncio.sleep(0)
        longest = max(longest, time.monotonic() - began)
    assert longest < 0.5
    context.interrupt(Interruption.ENDED)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job


async def test_a_payload_that_nobody_reads_does_no_harm(shell: Shell) -> None:
    assert isinstance(await shell.run("""exec 0<&-; echo '{"result": 1}'""", "x" * 1_000_000), Succeed)
    assert isinstance(await shell.run("""sleep 0.2; echo '{"result": 1}'""", "x" * 1_000_000), Succeed)


async def test_endless_and_unreadable_complaints_do_no_harm(shell: Shell) -> None:
    script = """head -c 300000 /dev/zero >&2; printf '\\377\\376\\n' >&2; echo '{"result": 1}'"""
    assert isinstance(await shell.run(script), Succeed)


async def test_a_program_that_cannot_be_executed_is_told_by_its_exit_code(shell: Shell) -> None:
    handler = CommandHandler(type="gone", command=("/no/such/program",), folder=shell.folder)
    task = processing(TaskSpec(type="gone", payload=encode_json(None, "payload")), attempt=1).task
    assert task is not None
    context = TaskContext(task, report=shell.reported.append, loop=asyncio.get_running_loop())
    outcome = await shell.runner.run(handler, task, context)
    assert isinstance(outcome, Retry)
    assert "exit code 127" in outcome.error.message


async def test_what_a_command_leaves_in_the_background_ends_with_it(shell: Shell, tmp_path: Path) -> None:
    outcome = await shell.run("""sleep 100 & echo $! > left; echo '{"result": 1}'""")
    assert isinstance(outcome, Succeed)
    left = int((tmp_path / "left").read_text())
    await asyncio.to_thread(eventually, lambda: _is_gone(left), within=5, what="the background process to end")


async def test_a_daemon_that_has_left_the_group_does_not_hold_up_the_task(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "LAST_WORDS_SECONDS", 0.3)
    outcome = await shell.run("""setsid sleep 3 & echo '{"result": 1}'""")
    assert isinstance(outcome, Succeed)


async def test_the_word_to_stop_reaches_all_that_a_command_has_started(shell: Shell, tmp_path: Path) -> None:
    context, job = shell.start("trap '' TERM; sh -c 'echo $$ > child; exec sleep 100' & wait; sleep 100")
    child = tmp_path / "child"

    async def started() -> bool:
        return child.exists() and bool(child.read_text().strip())

    await eventually_async(started, within=5, what="the child to start")
    context.interrupt(Interruption.ENDED)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await asyncio.to_thread(eventually, lambda: _is_gone(int(child.read_text())), within=5, what="the child to end")


def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = f"""
import asyncio
from worker_service.runners.group import ProcessGroup

async def main():
    script = "trap '' TERM; sleep 100 & echo $$ $! > {pids}; wait; sleep 100"
    group = await ProcessGroup.start(["/bin/sh", "-c", script])
    await group.wait()

asyncio.run(main())
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        found = eventually(lambda: pids.exists() and pids.read_text().split(), within=20, what="the children to start")
        assert found
        os.kill(parent.pid, signal.SIGKILL)
    finally:
        parent.kill()
        parent.wait()
    for pid in map(int, found):
        eventually(lambda pid=pid: _is_gone(pid), within=5, what=f"process {pid} to end")  # type: ignore[misc]


def _is_gone(pid: int) -> bool:
    """Ended, and perhaps not yet fetched by whoever inherited it."""
    if not is_alive(pid):
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
