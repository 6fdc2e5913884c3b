from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from typer.testing import CliRunner

from taskcast.cli.app import app
from taskcast.v1 import task_pb2, task_service_pb2
from tests.servers import free_port
from tests.unit.scripted_gateway import TASK_ID, Refusal, event, heartbeat, snapshot, succeeded
from tests.unit.scripted_thread import gateway_on_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

    from tests.unit.scripted_gateway import ScriptedGateway

TASK = task_pb2.Task(
    id=TASK_ID,
    type="demo.steps",
    queue="default",
    priority=task_pb2.TASK_PRIORITY_NORMAL,
    status=task_pb2.TASK_STATUS_WAITING,
    sequence=1,
)
SUBMITTED = task_service_pb2.SubmitTaskResponse(task=TASK)
GONE = Refusal(grpc.StatusCode.NOT_FOUND, "There is no task with that id.", "TASK_NOT_FOUND")


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    with gateway_on_a_thread() as gateway:
        yield gateway


def taskcast(*arguments: str, server: str = "127.0.0.1:1", given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=given, env={"TASKCAST_SERVER": server})


def objects(result: Result) -> list[dict[str, Any]]:
    """What --json printed. Every line must be one compact object, and nothing else may stand there."""
    lines = result.stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert [json.dumps(each, separators=(",", ":")) for each in found] == lines
    return found


def test_submit_prints_the_id(gateway: ScriptedGateway) -> None:
    gateway.answers.append(SUBMITTED)
    result = taskcast("submit", "demo.steps", server=gateway.address)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{TASK_ID}\n", "")


def test_submit_sends_what_its_options_say(gateway: ScriptedGateway) -> None:
    gateway.answers.append(SUBMITTED)
    options = ["--payload", '{"steps": 3}', "--label", "team=blue", "--label", "empty=", "--queue", "heavy"]
    options += ["--priority", "high", "--timeout", "1d12h", "--attempt-timeout", "500ms", "--max-attempts", "7"]
    result = taskcast("submit", "demo.steps", *options, "--request-id", "mine", server=gateway.address)
    assert result.exit_code == 0, result.output
    (request,) = gateway.requests
    assert request.type == "demo.steps"
    assert request.payload.struct_value["steps"] == 3
    assert dict(request.labels) == {"team": "blue", "empty": ""}
    assert request.queue == "heavy"
    assert request.priority == task_pb2.TASK_PRIORITY_HIGH
    assert request.timeout.ToSeconds() == 36 * 3600
    assert request.attempt_timeout.ToMilliseconds() == 500
    assert request.retry_policy.max_attempts == 7
    assert request.request_id == "mine"


def test_the_server_option_has_precedence_over_the_environment(gateway: ScriptedGateway) -> None:
    gateway.answers.append(SUBMITTED)
    result = taskcast("--server", gateway.address, "submit", "demo.steps", server="127.0.0.1:1")
    assert result.exit_code == 0


@pytest.mark.parametrize("how", [["-"], ["--payload-file", "-"]])
def test_the_payload_can_come_from_standard_input(gateway: ScriptedGateway, how: list[str]) -> None:
    gateway.answers.append(SUBMITTED)
    result = taskcast("submit", "demo.steps", *how, server=gateway.address, given='["ü"]')
    assert result.exit_code == 0, result.output
    assert list(gateway.requests[0].payload.list_value) == ["ü"]


def test_the_payload_can_come_from_a_file(gateway: ScriptedGateway, tmp_path: Path) -> None:
    gateway.answers.append(SUBMITTED)
    (tmp_path / "payload.json").write_bytes(b'\xef\xbb\xbf{"a": null}\n')
    file = str(tmp_path / "payload.json")
    assert taskcast("submit", "demo.steps", "--payload-file", file, server=gateway.address).exit_code == 0
    assert dict(gateway.requests[0].payload.struct_value) == {"a": None}


def test_submit_prints_the_task_as_json(gateway: ScriptedGateway) -> None:
    gateway.answers.append(SUBMITTED)
    result = taskcast("submit", "demo.steps", "--json", server=gateway.address)
    (task,) = objects(result)
    assert task["id"] == TASK_ID
    assert task["status"] == "TASK_STATUS_WAITING"
    assert task["sequence"] == "1"


def test_submit_and_watch_prints_each_event_as_json(gateway: ScriptedGateway) -> None:
    gateway.answers.append(SUBMITTED)
    gateway.streams.append([event(1), heartbeat(1), event(2), heartbeat(2), succeeded(3)])
    result = taskcast("submit", "demo.steps", "--watch", "--json", server=gateway.address)
    assert result.exit_code == 0, result.output
    assert [line["event"]["sequence"] for line in objects(result)] == ["1", "2", "3"]
    assert gateway.requests[1].after_sequence == 0
    assert result.stderr == ""


def test_submitting_again_and_watching_shows_how_the_earlier_task_stands(gateway: ScriptedGateway) -> None:
    gateway.answers.append(task_service_pb2.SubmitTaskResponse(task=task_pb2.Task(id=TASK_ID, sequence=7)))
    gateway.streams.append([snapshot(9, task_pb2.TASK_STATUS_SUCCESS)])
    result = taskcast("submit", "demo.steps", "--request-id", "mine", "--watch", "--json", server=gateway.address)
    assert result.exit_code == 0
    assert [line["snapshot"]["sequence"] for line in objects(result)] == ["9"]
    assert not gateway.requests[1].HasField("after_sequence")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (task_pb2.TASK_STATUS_SUCCESS, 0),
        (task_pb2.TASK_STATUS_FAILED, 1),
        (task_pb2.TASK_STATUS_ERROR, 1),
        (task_pb2.TASK_STATUS_CANCELLED, 1),
        (task_pb2.TASK_STATUS_TIMEOUT, 1),
    ],
)
def test_a_watch_exits_with_the_outcome(
    gateway: ScriptedGateway, status: task_pb2.TaskStatus.ValueType, code: int
) -> None:
    gateway.streams.append([snapshot(4, status)])
    result = taskcast("watch", TASK_ID, server=gateway.address)
    assert result.exit_code == code
    assert result.stdout.startswith(task_pb2.TaskStatus.Name(status).removeprefix("TASK_STATUS_"))


def test_a_watch_after_the_last_event_asks_how_it_ended(gateway: ScriptedGateway) -> None:
    gateway.streams.append([])
    ended = task_pb2.Task(id=TASK_ID, status=task_pb2.TASK_STATUS_FAILED, sequence=4)
    ended.error.code = "EMPTY"
    ended.error.message = "Nothing to do."
    gateway.answers.append(task_service_pb2.GetTaskResponse(task=ended))
    result = taskcast("watch", TASK_ID, "--after", "4", server=gateway.address)
    assert result.exit_code == 1
    assert result.stdout == "FAILED: EMPTY: Nothing to do.\n"


def test_a_watch_tells_its_story_in_plain_lines_when_there_is_no_terminal(gateway: ScriptedGateway) -> None:
    progressed = event(3)
    progressed.event.progress.percent = 40
    progressed.event.progress.completed = 4
    progressed.event.progress.total = 10
    progressed.event.progress.message = "step 4\x1b[31m\nof 10"
    started = event(2, task_pb2.TaskEvent.TYPE_STARTED)
    started.event.attempt = 1
    started.event.worker = "host/17"
    retry = event(4, task_pb2.TaskEvent.TYPE_RETRY_SCHEDULED, task_pb2.TASK_STATUS_WAITING)
    retry.event.attempt = 1
    retry.event.error.code = "UNHANDLED_EXCEPTION"
    retry.event.error.message = "RuntimeError: no"
    again = event(5, task_pb2.TaskEvent.TYPE_STARTED)
    again.event.attempt = 2
    end = succeeded(6)
    end.event.attempt = 2
    end.event.result.struct_value.update({"steps": 10})
    end.event.time.FromMilliseconds(2_100)
    submitted = event(1, task_pb2.TaskEvent.TYPE_SUBMITTED, task_pb2.TASK_STATUS_WAITING)
    submitted.event.time.FromMilliseconds(0)
    gateway.streams.append([submitted, started, progressed, retry, again, end])
    result = taskcast("watch", TASK_ID, "--after", "0", server=gateway.address)
    assert result.exit_code == 0, result.output
    assert [line[10:] for line in result.stdout.splitlines()[:-1]] == [
        "submitted",
        "attempt 1 started on host/17",
        " 40 %  4/10  step 4 [31m of 10",
        "attempt 1 failed, next: UNHANDLED_EXCEPTION: RuntimeError: no",
        "attempt 2 started",
    ]
    assert result.stdout.splitlines()[-1] == 'SUCCESS in 2.1 s, attempt 2: {"steps":10}'


def test_get_shows_what_there_is_to_know(gateway: ScriptedGateway) -> None:
    task = task_pb2.Task()
    task.CopyFrom(TASK)
    task.status = task_pb2.TASK_STATUS_ERROR
    task.error.code = "UNHANDLED_EXCEPTION"
    task.error.message = "RuntimeError: no"
    task.payload.struct_value.update({"steps": 3})
    task.labels["team"] = "blue"
    task.attempts.add(number=1, worker="host/17").error.code = "LEASE_LOST"
    gateway.answers.append(task_service_pb2.GetTaskResponse(task=task))
    result = taskcast("get", TASK_ID, server=gateway.address)
    assert result.exit_code == 0
    shown = {line[:13].strip(): line[13:].strip() for line in result.stdout.splitlines()}
    assert shown["status"] == "ERROR"
    assert shown["error"] == "UNHANDLED_EXCEPTION: RuntimeError: no"
    assert shown["payload"] == '{"steps":3}'
    assert shown["labels"] == "team=blue"
    assert shown["queue"] == "default, normal"
    assert shown["attempt 1"].endswith("on host/17  LEASE_LOST")
    assert "\x1b" not in result.stdout


def test_get_prints_the_whole_task_as_json(gateway: ScriptedGateway) -> None:
    gateway.answers.append(task_service_pb2.GetTaskResponse(task=TASK))
    (task,) = objects(taskcast("get", TASK_ID, "--json", server=gateway.address))
    assert task["type"] == "demo.steps"


def test_cancel_says_that_it_is_done(gateway: ScriptedGateway) -> None:
    gateway.answers.extend([task_service_pb2.CancelTaskResponse(task=TASK)] * 2)
    result = taskcast("cancel", TASK_ID, "--reason", "changed my mind", server=gateway.address)
    assert (result.exit_code, result.stdout) == (0, f"Task {TASK_ID} is cancelled.\n")
    assert gateway.requests[0].reason == "changed my mind"
    (task,) = objects(taskcast("cancel", TASK_ID, "--json", server=gateway.address))
    assert task["id"] == TASK_ID


@pytest.mark.parametrize("command", [["get"], ["cancel"], ["watch"], ["watch", "--json"], ["get", "--json"]])
def test_an_error_is_one_sentence_on_standard_error(gateway: ScriptedGateway, command: list[str]) -> None:
    gateway.answers.append(GONE)
    gateway.streams.append([GONE])
    result = taskcast(*command, TASK_ID, server=gateway.address)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "Error: There is no task with that id.\n"


def test_a_gateway_that_is_not_there_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskcast.cli.session.CALL_SECONDS", 0.3)
    address = f"127.0.0.1:{free_port()}"
    result = taskcast("get", TASK_ID, server=address)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: No gateway answers at {address}: Connection refused")
    assert "taskcast dev" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["submit"], "Missing argument"),
        (["submit", "x", "--timeout", "30"], "no duration"),
        (["submit", "x", "--timeout", "-5s"], "no duration"),
        (["submit", "x", "--timeout", "9999999999d"], "longer than anything"),
        (["submit", "x", "--label", "blue"], "key=value"),
        (["submit", "x", "--label", "a=1", "--label", "a=2"], "twice"),
        (["submit", "x", "--priority", "urgent"], "urgent"),
        (["submit", "x", "--max-attempts", "0"], "max-attempts"),
        (["submit", "x", "--payload", "{"], "not JSON"),
        (["submit", "x", "--payload", "NaN"], "no JSON number"),
        (["submit", "x", "--payload", "12345678901234567890"], "2**53"),
        (["submit", "x", "--payload", "[" * 100_000], "payload"),
        (["submit", "x", "--payload", "1", "-"], "twice"),
        (["submit", "x", '{"a": 1}'], "too many"),
        (["submit", "x", "--payload-file", "no/such/file"], "cannot be read"),
        (["watch", "x", "--after", "-1"], "after"),
        (["--server", "http://127.0.0.1:50051", "get", "x"], "host:port"),
        (["get"], "Missing argument"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(arguments: list[str], words: str) -> None:
    result = taskcast(*arguments)
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""


def test_a_payload_that_is_no_text_is_wrong_usage() -> None:
    result = taskcast("submit", "x", "-", given=b"\xff\xfe{}")
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr


def test_the_version_is_told() -> None:
    result = taskcast("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("taskcast ")


def test_every_command_explains_itself() -> None:
    for command in ([], ["submit"], ["get"], ["watch"], ["cancel"]):
        result = taskcast(*command, "--help")
        assert result.exit_code == 0
        assert "Usage: taskcast" in result.stdout
