"""What others wrote: Node.js with @grpc/grpc-js and our .proto files, against a running system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google.rpc
import pytest

from tests.servers import ServerMissingError, ensure_node
from tests.stack import ROOT

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

PROGRAM = Path(__file__).parent / "node"
INSTALL_SECONDS = 100.0
RUN_SECONDS = 60.0


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with the libraries that its lock file names, installed anew; npm keeps what it has downloaded."""
    try:
        node = ensure_node()
    except ServerMissingError as error:
        pytest.fail(str(error), pytrace=False)
    folder = tmp_path_factory.mktemp("node")
    for file in PROGRAM.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    npm = shutil.which("npm") or str(node.with_name("npm"))
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"npm ci failed:\n{done.stdout}{done.stderr}"
    return folder


@pytest.fixture(scope="module")
def seen(node_folder: Path, standing_stack: Stack) -> dict[str, Any]:
    """What the program saw of the system."""
    google_protos = Path(next(iter(google.rpc.__path__))).parent.parent
    done = subprocess.run(
        [str(ensure_node()), "client.mjs", standing_stack.address, str(ROOT / "protos"), str(google_protos)],
        cwd=node_folder,
        env={name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def sequences(stream: dict[str, Any]) -> list[int]:
    assert stream["error"] is None
    return [int(update["event"]["sequence"]) for update in stream["updates"] if update.get("event")]


def test_node_submits_and_watches_a_task_from_its_beginning_to_its_end(seen: dict[str, Any]) -> None:
    assert seen["submitted"]["task"]["status"] == "TASK_STATUS_WAITING"
    assert seen["submitted"]["task"]["labels"] == {"by": "node"}
    events = [update["event"] for update in seen["watched"]["updates"] if update.get("event")]
    assert sequences(seen["watched"]) == list(range(1, len(events) + 1))
    assert events[0]["type"] == "TYPE_SUBMITTED"
    assert events[-1]["type"] == "TYPE_SUCCEEDED"
    assert events[-1]["result"] == seen["got"]["task"]["result"]
    assert seen["got"]["task"]["status"] == "TASK_STATUS_SUCCESS"


def test_node_resumes_a_watch(seen: dict[str, Any]) -> None:
    assert sequences(seen["resumed"]) == sequences(seen["watched"])[2:]


def test_node_submits_a_batch_and_follows_it_on_one_stream(seen: dict[str, Any]) -> None:
    outcomes = [sorted(set(result) & {"task", "error"}) for result in seen["batch"]["results"]]
    assert outcomes == [["task"], ["error"], ["task"]]
    ids = {result["task"]["id"] for result in seen["batch"]["results"] if "task" in result}
    assert seen["many"]["error"] is None
    ended = {
        told["task_id"] if "task_id" in told else told["id"]
        for update in seen["many"]["updates"]
        if (told := update.get("event") or update.get("snapshot")) and told["status"] == "TASK_STATUS_SUCCESS"
    }
    assert ended == ids


def test_node_reads_why_one_item_of_a_batch_was_refused(seen: dict[str, Any]) -> None:
    [details] = seen["batch_errors"]
    assert details["ErrorInfo"]["reason"] == "INVALID_REQUEST"
    assert [violation["field"] for violation in details["BadRequest"]["fieldViolations"]] == ["type"]


def test_node_cancels_a_running_task(seen: dict[str, Any]) -> None:
    task = seen["cancelled"]["task"]
    assert (task["status"], task["cancel_reason"]) == ("TASK_STATUS_CANCELLED", "seen enough")


@pytest.mark.parametrize(
    ("what", "code", "reason"),
    [
        ("bad_field", "INVALID_ARGUMENT", "INVALID_REQUEST"),
        ("unknown_task", "NOT_FOUND", "TASK_NOT_FOUND"),
        ("finished_task", "FAILED_PRECONDITION", "TASK_NOT_CANCELLABLE"),
        ("ahead", "OUT_OF_RANGE", "SEQUENCE_AHEAD"),
    ],
)
def test_node_reads_code_and_reason_of_a_refusal(seen: dict[str, Any], what: str, code: str, reason: str) -> None:
    refusal = seen["refused"][what]
    problem = refusal.get("error", refusal)
    assert (problem["code"], problem["details"]["ErrorInfo"]["reason"]) == (code, reason)
    assert problem["details"]["ErrorInfo"]["domain"] == "taskcast"
    assert problem["message"]
    if what == "bad_field":
        assert problem["details"]["BadRequest"]["fieldViolations"][0]["field"] == "type"
