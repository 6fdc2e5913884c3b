"""The commands in examples/: a shell script and a Node program that do the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.documents import ROOT
from tests.servers.programs import ServerMissingError, ensure_node
from worker_service.command_file import CommandHandler, read_command_file
from worker_service.testing import TaskStatus, run_handler

if TYPE_CHECKING:
    from pathlib import Path

    from worker_service.testing import Ran

COMMANDS = ROOT / "examples" / "commands" / "handlers.toml"


@pytest.fixture(name="handler", params=["text.count.sh", "text.count.node"])
def _handler(request: pytest.FixtureRequest) -> CommandHandler:
    try:
        ensure_node()
    except ServerMissingError as error:
        pytest.fail(str(error), pytrace=False)
    [found] = [handler for handler in read_command_file(str(COMMANDS)) if handler.type == request.param]
    return found


async def run(handler: CommandHandler, payload: Any, **options: Any) -> Ran:
    async with asyncio.timeout(30):
        return await run_handler(handler, payload, **options)


async def test_the_lines_of_a_file_are_counted_and_progress_is_told(handler: CommandHandler, tmp_path: Path) -> None:
    file = tmp_path / "a file.txt"
    file.write_text("a line\n" * 1_234)
    ran = await run(handler, str(file))
    assert (ran.status, ran.result) == (TaskStatus.SUCCESS, {"lines": 1_234}), ran.error
    assert ran.progress
    assert ran.progress[0].message == "counting"


async def test_an_empty_file_has_no_lines(handler: CommandHandler, tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.touch()
    assert (await run(handler, str(file))).result == {"lines": 0}


@pytest.mark.parametrize(
    ("payload", "code"),
    [(None, "BAD_PAYLOAD"), ({"path": "x"}, "BAD_PAYLOAD"), (["x"], "BAD_PAYLOAD"), ("/no/such/file", "NO_SUCH_FILE")],
)
async def test_a_payload_that_names_no_file_fails_for_good(handler: CommandHandler, payload: Any, code: str) -> None:
    ran = await run(handler, payload)
    assert ran.status is TaskStatus.FAILED
    assert ran.error is not None
    assert ran.error.code == code


async def test_a_folder_is_no_file(handler: CommandHandler, tmp_path: Path) -> None:
    ran = await run(handler, str(tmp_path))
    assert ran.error is not None
    assert ran.error.code == "NO_SUCH_FILE"


async def test_the_program_stops_when_its_task_is_cancelled(handler: CommandHandler) -> None:
    ran = await run(handler, "/proc/self/environ", cancel_after_reports=1)
    assert ran.status is TaskStatus.CANCELLED
