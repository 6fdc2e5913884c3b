"""The commands about many tasks as their users meet them: files, pipes, terminals and signals."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import eventually
from tests.e2e.test_cli import CONTROL, NO_SUCH_TASK, SECONDS, Running, objects, taskcast

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(name="address")
def _address(standing_stack: Stack) -> str:
    return standing_stack.address


def batch_of(folder: Path, *tasks: dict[str, Any]) -> str:
    file = folder / "tasks.jsonl"
    file.write_text("".join(json.dumps(task) + "\n" for task in tasks), encoding="utf-8")
    return str(file)


def steps(count: int, **fields: Any) -> dict[str, Any]:
    return {"type": "test.steps", "payload": {"steps": count, "pause": 0.1}, **fields}


def test_a_batch_is_submitted_listed_watched_and_cancelled(
    standing_stack: Stack, address: str, tmp_path: Path, key_prefix: str
) -> None:
    gate = standing_stack.gate()
    held = {"type": "test.hold", "payload": {"gate": str(gate)}, "labels": {"test": key_prefix}}
    submitted = taskcast(address, "batch", batch_of(tmp_path, held, held, held))
    assert (submitted.returncode, submitted.stderr) == (0, "")
    ids = submitted.stdout.split()
    assert len(set(ids)) == 3

    listed = taskcast(address, "list", "--label", f"test={key_prefix}", "--json")
    assert {task["id"] for task in objects(listed.stdout)} == set(ids)
    assert taskcast(address, "list", "--label", f"test={key_prefix}", "--status", "success").stdout == ""
    table = taskcast(address, "list", "--label", f"test={key_prefix}", "--type", "test.hold", "--since", "1h").stdout
    assert all(task_id in table for task_id in ids)

    cancelled = taskcast(address, "cancel", *ids[:2], NO_SUCH_TASK, "--reason", "seen enough")
    assert cancelled.returncode == 1
    assert cancelled.stdout.splitlines() == [f"Task {task_id} is cancelled." for task_id in ids[:2]]
    assert NO_SUCH_TASK in cancelled.stderr
    gate.open()
    watched = taskcast(address, "watch", *ids)
    assert watched.returncode == 1
    assert watched.stdout.splitlines()[-1].endswith("1 succeeded, 2 cancelled")

    again = taskcast(address, "retry", ids[0], "--watch")
    assert again.returncode == 0
    assert "SUCCESS" in again.stdout.splitlines()[-1]


def test_a_batch_on_a_terminal_has_a_bar_for_all_and_a_line_for_each_that_runs(address: str, tmp_path: Path) -> None:
    file = batch_of(tmp_path, steps(10), steps(15), {"type": "test.fail"}, steps(20))
    with Running(address, "batch", file, "--watch", on_terminal=True) as command:
        assert command.exit_code() == 1
        shown = command.plain
    assert re.search(r"\d/4 ━+.*1 failed, \d running", shown)
    assert re.search(r"test\.steps +…[0-9a-f]{8} ━+.* \d+ % \d+/1[05] +step \d", shown)
    assert re.search(r"test\.fail  FAILED in .*: NO_LUCK", shown)
    assert re.search(r"4 tasks in [\d.]+ s: 3 succeeded, 1 failed\s*$", shown)
    assert "\x1b[?25h" in command.out, "the cursor must be shown again"


def test_ctrl_c_ends_the_watch_of_a_batch_and_not_its_tasks(standing_stack: Stack, tmp_path: Path) -> None:
    gate = standing_stack.gate()
    held = {"type": "test.hold", "payload": {"gate": str(gate)}}
    file = batch_of(tmp_path, held, held)
    with Running(standing_stack.address, "batch", file, "--watch", on_terminal=True) as command:
        command.until("2 running")
        command.interrupt()
        assert command.exit_code() == 130
        said = " ".join(CONTROL.sub("", command.out).split())
    match = re.search(r"Interrupted\. The tasks go on; watch them again with: taskcast (.*)$", said)
    assert match, said
    gate.open()
    assert taskcast(standing_stack.address, *match[1].split()).returncode == 0


def test_wrong_lines_submit_nothing(address: str, tmp_path: Path, key_prefix: str) -> None:
    file = batch_of(tmp_path, {"type": "test.echo", "labels": {"test": key_prefix}}, {"typ": "test.echo"})
    done = taskcast(address, "batch", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 2: " in done.stderr
    assert taskcast(address, "list", "--label", f"test={key_prefix}", "--ids").stdout == ""


def test_what_matches_is_followed_until_ctrl_c(address: str, key_prefix: str) -> None:
    with Running(address, "watch", "--filter", f"label.test={key_prefix}", "--json") as command:
        eventually(lambda: "Watching" in command.errors, within=SECONDS, what="the watch to be live")
        taskcast(address, "submit", "test.echo")
        submitted = taskcast(address, "submit", "test.echo", "--label", f"test={key_prefix}")
        command.until("TYPE_SUCCEEDED")
        command.interrupt()
        assert command.exit_code() == 130
    events = [line["event"] for line in objects(command.out)]
    assert {event["taskId"] for event in events} == {submitted.stdout.strip()}
    assert [event["sequence"] for event in events] == ["1", "2", "3"]
    assert command.errors.endswith("Stopped watching.\n")


def test_queues_and_workers_are_shown(standing_stack: Stack, address: str) -> None:
    def shown() -> list[dict[str, Any]]:
        return objects(taskcast(address, "workers", "--json").stdout)

    workers = eventually(
        lambda: found if len(found := shown()) >= len(standing_stack.workers) else None,
        within=SECONDS,
        what="every worker to have reported",
    )
    assert workers is not None
    assert all("test.echo" in worker["types"] for worker in workers)
    table = taskcast(address, "workers").stdout
    assert all(worker["name"] in table for worker in workers)
    queues = taskcast(address, "queues")
    assert queues.returncode == 0
    assert re.search(r"^default ", queues.stdout, re.MULTILINE)


@pytest.mark.faults
def test_the_watch_of_a_batch_outlives_its_gateway(own_stack: Stack, tmp_path: Path) -> None:
    own_stack.start()
    (gateway,) = own_stack.gateways
    gate = own_stack.gate()
    held = {"type": "test.hold", "payload": {"gate": str(gate)}}
    with Running(own_stack.address, "batch", batch_of(tmp_path, held, held), "--watch", on_terminal=True) as command:
        command.until("2 running")
        gateway.kill()
        command.until("reconnecting…")
        gate.open()
        gateway.start()
        assert command.exit_code() == 0
        assert re.search(r"2 tasks in [\d.]+ s: 2 succeeded\s*$", command.plain)
