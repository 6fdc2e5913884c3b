"""The commands about more than one task, and those about the system."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from taskcast.cli.filters import parse_moment
from taskcast.cli.many_view import ManyView
from taskcast.v1 import admin_service_pb2, task_pb2, task_service_pb2
from tests.unit.scripted_gateway import (
    TASK_ID,
    Refusal,
    ScriptedGateway,
    event,
    heartbeat,
    of_many,
    refused,
    snapshot,
    succeeded,
)
from tests.unit.scripted_thread import gateway_on_a_thread
from tests.unit.test_cli_commands import objects, taskcast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER_ID = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0002"
FINISHED = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "It has finished.", "TASK_NOT_CANCELLABLE")
BAD_TYPE = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "type is wrong.", "INVALID_REQUEST")
FAILED = task_pb2.TASK_STATUS_FAILED
SUCCESS = task_pb2.TASK_STATUS_SUCCESS


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    with gateway_on_a_thread() as gateway:
        yield gateway


def task(task_id: str = TASK_ID, **fields: Any) -> task_pb2.Task:
    return task_pb2.Task(id=task_id, type="demo.steps", queue="default", sequence=1, **fields)


def recorded(*ids: str) -> list[task_service_pb2.BatchTaskResult]:
    return [task_service_pb2.BatchTaskResult(task=task(task_id)) for task_id in ids]


# --- retry and cancel --------------------------------------------------------------------------------------------


def test_retry_prints_the_new_id(gateway: ScriptedGateway) -> None:
    gateway.answers.append(task_service_pb2.RetryTaskResponse(task=task(OTHER_ID, retry_of=TASK_ID)))
    result = taskcast("retry", TASK_ID, server=gateway.address)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{OTHER_ID}\n", "")
    assert gateway.requests[0].task_id == TASK_ID


def test_retry_follows_the_new_task(gateway: ScriptedGateway) -> None:
    gateway.answers.append(task_service_pb2.RetryTaskResponse(task=task(OTHER_ID, retry_of=TASK_ID)))
    gateway.streams.append([event(1), succeeded(2)])
    result = taskcast("retry", TASK_ID, "--watch", server=gateway.address)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Task {OTHER_ID}\n")
    assert gateway.requests[1].task_id == OTHER_ID


def test_several_tasks_are_cancelled_and_what_cannot_be_is_named(gateway: ScriptedGateway) -> None:
    results = [*recorded(TASK_ID), refused(FINISHED)]
    gateway.answers.append(task_service_pb2.BatchCancelTasksResponse(results=results))
    result = taskcast("cancel", TASK_ID, OTHER_ID, "--reason", "enough", server=gateway.address)
    assert result.exit_code == 1
    assert result.stdout == f"Task {TASK_ID} is cancelled.\n"
    assert result.stderr == "Error: It has finished.\n"
    assert gateway.requests[0].reason == "enough"


# --- list --------------------------------------------------------------------------------------------------------


def test_list_shows_a_table(gateway: ScriptedGateway) -> None:
    running = task(status=task_pb2.TASK_STATUS_PROCESSING, attempt=2, labels={"team": "blue", "a": "\x1b[31m"})
    running.progress.percent = 40
    gateway.answers.append(task_service_pb2.ListTasksResponse(tasks=[running, task(OTHER_ID, status=FAILED)]))
    result = taskcast("list", server=gateway.address)
    assert (result.exit_code, result.stderr) == (0, "")
    titles, first, second = (line.split() for line in result.stdout.splitlines())
    assert titles == ["ID", "TYPE", "STATUS", "DONE", "QUEUE", "TRY", "AGE", "LABELS"]
    assert first[:7] == [TASK_ID, "demo.steps", "PROCESSING", "40", "%", "default", "2"]
    assert first[-3:] == ["a=", "[31m,", "team=blue"]
    assert second[:3] == [OTHER_ID, "demo.steps", "FAILED"]
    assert "\x1b" not in result.stdout


def test_list_sends_what_its_options_say(gateway: ScriptedGateway) -> None:
    gateway.answers.append(task_service_pb2.ListTasksResponse())
    options = ["--status", "failed", "--status", "error", "--type", "report.render", "--queue", "heavy"]
    options += ["--label", "team=blue", "--label", "size=", "--since", "2026-01-02T03:04:05+00:00", "--before", "1h"]
    result = taskcast("list", *options, server=gateway.address)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "There are no such tasks.\n"
    (request,) = gateway.requests
    assert list(request.filter.statuses) == [FAILED, task_pb2.TASK_STATUS_ERROR]
    assert (request.filter.type, request.filter.queue) == ("report.render", "heavy")
    assert dict(request.filter.labels) == {"team": "blue", "size": ""}
    assert request.filter.create_time_after.ToJsonString() == "2026-01-02T03:04:05Z"
    age = datetime.now(UTC) - request.filter.create_time_before.ToDatetime(tzinfo=UTC)
    assert timedelta(hours=1) <= age < timedelta(hours=1, minutes=5)


@pytest.mark.parametrize("how", ["--json", "--ids"])
def test_list_shows_so_many_and_says_that_there_are_more(gateway: ScriptedGateway, how: str) -> None:
    pages = [[task(TASK_ID)], [task(OTHER_ID), task("third")]]
    for number, tasks in enumerate(pages):
        gateway.answers.append(task_service_pb2.ListTasksResponse(tasks=tasks, next_page_token=str(number)))
    result = taskcast("list", how, "--limit", "2", server=gateway.address)
    assert result.exit_code == 0
    if how == "--ids":
        assert result.stdout.split() == [TASK_ID, OTHER_ID]
    else:
        assert [each["id"] for each in objects(result)] == [TASK_ID, OTHER_ID]
    assert "There are more" in result.stderr
    assert len(gateway.requests) == 2


def test_list_without_a_limit_shows_all_pages(gateway: ScriptedGateway) -> None:
    gateway.answers.append(task_service_pb2.ListTasksResponse(tasks=[task()] * 3, next_page_token="1"))
    gateway.answers.append(task_service_pb2.ListTasksResponse(tasks=[task()] * 2))
    result = taskcast("list", "--limit", "0", server=gateway.address)
    assert result.stdout.count(TASK_ID) == 5
    assert result.stderr == ""


def test_a_moment_is_a_time_or_how_long_ago_it_was() -> None:
    assert parse_moment("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse_moment("2026-01-02") == datetime(2026, 1, 2).astimezone()
    moment = parse_moment("1d12h")
    ago = datetime.now(UTC) - moment
    assert timedelta(hours=36) <= ago < timedelta(hours=36, minutes=5)


# --- queues and workers ------------------------------------------------------------------------------------------


def test_queues_are_shown_as_a_table_or_as_json(gateway: ScriptedGateway) -> None:
    queue = admin_service_pb2.Queue(name="heavy", running=3, delayed=1, consumers=2, rate=1.25)
    queue.waiting.high, queue.waiting.normal, queue.waiting.low = 1, 20, 300
    queue.oldest_waiting_age.FromSeconds(200)
    gateway.answers.extend([admin_service_pb2.ListQueuesResponse(queues=[queue])] * 2)
    result = taskcast("queues", server=gateway.address)
    assert result.exit_code == 0
    row = result.stdout.splitlines()[1].split()
    assert row == ["heavy", "321", "1", "20", "300", "3", "min", "20", "s", "3", "1", "2", "1.2"]
    (shown,) = objects(taskcast("queues", "--json", server=gateway.address))
    assert shown["waiting"] == {"low": "300", "normal": "20", "high": "1"}


def test_workers_are_shown_as_a_table_or_as_json(gateway: ScriptedGateway) -> None:
    worker = admin_service_pb2.Worker(
        name="host/17", types=["a.b", "c.d"], queues=["default"], slots=8, running=5, version="0.1.0"
    )
    gateway.answers.extend([admin_service_pb2.ListWorkersResponse(workers=[worker])] * 2)
    result = taskcast("workers", server=gateway.address)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split() == ["host/17", "5/8", "default", "0.1.0", "a.b,", "c.d"]
    (shown,) = objects(taskcast("workers", "--json", server=gateway.address))
    assert shown["slots"] == 8


def test_an_empty_system_is_told_in_a_sentence(gateway: ScriptedGateway) -> None:
    gateway.answers.extend([admin_service_pb2.ListQueuesResponse(), admin_service_pb2.ListWorkersResponse()])
    for command in ("queues", "workers"):
        result = taskcast(command, server=gateway.address)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.startswith("No ")


# --- batch -------------------------------------------------------------------------------------------------------


@pytest.fixture
def batch_file(tmp_path: Path) -> Path:
    file = tmp_path / "tasks.jsonl"
    lines = [
        {"type": "demo.steps", "payload": {"steps": 3}, "labels": {"team": "blue"}, "priority": "TASK_PRIORITY_HIGH"},
        {"type": "demo.steps", "attempt_timeout": "90s", "retryPolicy": {"maxAttempts": 5}},
    ]
    file.write_text("\ufeff" + json.dumps(lines[0]) + "\n\n" + json.dumps(lines[1]) + "\r\n", encoding="utf-8")
    return file


def test_batch_submits_each_line_and_prints_the_ids_in_order(gateway: ScriptedGateway, batch_file: Path) -> None:
    gateway.answers.append(task_service_pb2.BatchSubmitTasksResponse(results=recorded(TASK_ID, OTHER_ID)))
    result = taskcast("batch", str(batch_file), server=gateway.address)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{TASK_ID}\n{OTHER_ID}\n", "")
    first, second = gateway.requests[0].requests
    assert first.payload.struct_value["steps"] == 3
    assert dict(first.labels) == {"team": "blue"}
    assert first.priority == task_pb2.TASK_PRIORITY_HIGH
    assert second.attempt_timeout.ToSeconds() == 90
    assert second.retry_policy.max_attempts == 5
    assert second.payload.WhichOneof("kind") == "null_value"


def test_a_line_that_the_gateway_refuses_is_named_and_stops_no_other(
    gateway: ScriptedGateway, batch_file: Path
) -> None:
    results = [refused(BAD_TYPE), *recorded(OTHER_ID)]
    gateway.answers.extend([task_service_pb2.BatchSubmitTasksResponse(results=results)] * 2)
    result = taskcast("batch", str(batch_file), server=gateway.address)
    assert (result.exit_code, result.stdout) == (1, f"{OTHER_ID}\n")
    assert result.stderr == "Error: line 1: type is wrong.\n"
    first, second = objects(taskcast("batch", str(batch_file), "--json", server=gateway.address))
    assert first["line"] == 1
    assert first["error"]["reason"] == "INVALID_REQUEST"
    assert (second["line"], second["task"]["id"]) == (3, OTHER_ID)


def test_wrong_lines_are_named_with_their_numbers_and_nothing_is_submitted(gateway: ScriptedGateway) -> None:
    wrong = {
        b'{"type": "x"': "not JSON",
        b'{"typ": "x"}': 'no field named "typ"',
        b'{"payload": 1}': "no type",
        b'["x"]': "no JSON object",
        b'{"type": "x", "payload": NaN}': "no JSON number",
        b'{"type": "x", "payload": {"a": 12345678901234567890}}': "payload.a is an integer beyond",
        b'{"type": "x", "priority": "urgent"}': "urgent",
        b'{"type": "x", "timeout": "5m"}': "timeout",
        b'\xff{"type": "x"}': "not UTF-8",
        b'{"type": "x", "payload": ' + b"[" * 100_000 + b"}": "nested",
    }
    given = b"\n".join([b'{"type": "fine"}', *wrong])
    result = taskcast("batch", "-", server=gateway.address, given=given)
    assert (result.exit_code, result.stdout) == (2, "")
    heading, *complaints = result.stderr.splitlines()
    assert heading == "Error: Nothing was submitted: standard input has lines that are no tasks."
    for number, (complaint, expected) in enumerate(zip(complaints, wrong.values(), strict=True), start=2):
        assert complaint.startswith(f"line {number}: ")
        assert expected in complaint
    assert not gateway.requests


def test_of_many_wrong_lines_the_first_are_named(gateway: ScriptedGateway) -> None:
    result = taskcast("batch", "-", server=gateway.address, given="nope\n" * 1_000)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 22
    assert result.stderr.endswith("and 980 more\n")


def test_an_empty_batch_is_done_at_once(gateway: ScriptedGateway) -> None:
    result = taskcast("batch", "-", "--watch", server=gateway.address, given="\n")
    assert (result.exit_code, result.stdout) == (0, "")
    assert not gateway.requests


def test_batch_follows_its_tasks_to_their_end(gateway: ScriptedGateway, batch_file: Path) -> None:
    gateway.answers.append(task_service_pb2.BatchSubmitTasksResponse(results=recorded(TASK_ID, OTHER_ID)))
    failed = event(3, task_pb2.TaskEvent.TYPE_FAILED, FAILED)
    failed.event.error.code = "EMPTY"
    gateway.streams.append(
        [
            of_many(snapshot(1), TASK_ID),
            of_many(snapshot(2), OTHER_ID),
            of_many(heartbeat(0)),
            of_many(failed, OTHER_ID),
            of_many(succeeded(2), TASK_ID),
        ]
    )
    result = taskcast("batch", str(batch_file), "--watch", server=gateway.address)
    assert result.exit_code == 1
    first, second, all_of_them = result.stdout.splitlines()
    assert first.startswith(f"{OTHER_ID}  demo.steps  FAILED")
    assert second.startswith(f"{TASK_ID}  demo.steps  SUCCESS")
    assert all_of_them.endswith("1 succeeded, 1 failed")
    assert list(gateway.requests[1].task_ids) == [TASK_ID, OTHER_ID]


# --- watch -------------------------------------------------------------------------------------------------------


def test_watching_several_tasks_succeeds_if_all_do(gateway: ScriptedGateway) -> None:
    gateway.streams.append([of_many(snapshot(3, SUCCESS), TASK_ID), of_many(snapshot(4, SUCCESS), OTHER_ID)])
    result = taskcast("watch", TASK_ID, OTHER_ID, "--json", server=gateway.address)
    assert result.exit_code == 0
    assert [line["snapshot"]["id"] for line in objects(result)] == [TASK_ID, OTHER_ID]


def test_one_id_given_twice_is_one_task(gateway: ScriptedGateway) -> None:
    gateway.streams.append([snapshot(3, SUCCESS)])
    result = taskcast("watch", TASK_ID, TASK_ID, server=gateway.address)
    assert result.exit_code == 0
    assert gateway.requests[0].task_id == TASK_ID


@pytest.mark.parametrize("as_json", [False, True])
def test_a_filter_is_followed_event_by_event(gateway: ScriptedGateway, as_json: bool) -> None:
    gateway.answers.append(task_service_pb2.ListTasksResponse())
    started = event(2, task_pb2.TaskEvent.TYPE_STARTED)
    started.event.attempt = 1
    started.event.worker = "host/17"
    story = [of_many(heartbeat(0)), of_many(started), of_many(succeeded(3))]
    gateway.streams.append(story)
    filters = ["status=processing,waiting", "type=demo.steps", "queue=heavy", "label.team=blue"]
    arguments = [word for pair in filters for word in ("--filter", pair)]
    result = taskcast("watch", *arguments, *["--json"] * as_json, server=gateway.address)
    assert result.exit_code == 0
    assert result.stderr == "Watching. Ctrl-C ends it.\n"
    if as_json:
        assert [line["event"]["sequence"] for line in objects(result)] == ["2", "3"]
    else:
        assert [line.split("  ")[1:] for line in result.stdout.splitlines()] == [
            [TASK_ID, "attempt 1 started on host/17"],
            [TASK_ID, "SUCCESS"],
        ]
    sent = gateway.requests[0].filter
    assert list(sent.statuses) == [task_pb2.TASK_STATUS_PROCESSING, task_pb2.TASK_STATUS_WAITING]
    assert (sent.type, sent.queue, dict(sent.labels)) == ("demo.steps", "heavy", {"team": "blue"})


def test_every_task_can_be_followed(gateway: ScriptedGateway) -> None:
    gateway.answers.append(task_service_pb2.ListTasksResponse())
    gateway.streams.append([of_many(heartbeat(0))])
    assert taskcast("watch", "--all", server=gateway.address).exit_code == 0
    assert gateway.requests[0].HasField("filter")


def test_a_many_watch_says_that_it_lost_and_found_its_gateway(gateway: ScriptedGateway) -> None:
    away = Refusal(grpc.StatusCode.UNAVAILABLE, "The record is away.", "STORE_UNAVAILABLE", retry_delay=0.01)
    gateway.streams.append([of_many(snapshot(1), TASK_ID), of_many(snapshot(1), OTHER_ID), away])
    gateway.streams.append(
        [of_many(snapshot(1), TASK_ID), of_many(succeeded(2), TASK_ID), of_many(succeeded(2), OTHER_ID)]
    )
    result = taskcast("watch", TASK_ID, OTHER_ID, server=gateway.address)
    assert result.exit_code == 0
    assert result.stderr == "The record is away. Trying again.\nConnected again.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["watch"], "three ways"),
        (["watch", "x", "--all"], "three ways"),
        (["watch", "x", "y", "--after", "3"], "one task only"),
        (["watch", "--filter", "blue"], "key=value"),
        (["watch", "--filter", "colour=blue"], "no filter"),
        (["watch", "--filter", "status=done"], "a status is one of"),
        (["watch", "--filter", "type=a", "--filter", "type=b"], "twice"),
        (["watch", "--filter", "label.=b"], "no label"),
        (["list", "--status", "done"], "done"),
        (["list", "--since", "yesterday"], "no time"),
        (["list", "--since", "99999999d"], "no time|longer|no tasks"),
        (["list", "--limit", "-1"], "limit"),
        (["list", "--label", "blue"], "key=value"),
        (["batch", "no/such/file"], "cannot be read"),
        (["batch"], "Missing argument"),
        (["retry"], "Missing argument"),
        (["cancel"], "Missing argument"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(arguments: list[str], words: str) -> None:
    result = taskcast(*arguments)
    assert result.exit_code == 2, result.output
    said = " ".join(result.stderr.replace("│", " ").split())
    assert any(word in said for word in words.split("|")), said


@pytest.mark.parametrize("command", ["retry", "list", "batch", "queues", "workers"])
def test_every_command_explains_itself(command: str) -> None:
    result = taskcast(command, "--help")
    assert result.exit_code == 0
    assert f"Usage: taskcast {command}" in result.stdout


def test_the_overall_percentage_counts_the_parts_of_what_runs() -> None:
    many = ManyView([TASK_ID, OTHER_ID])
    progressed = event(2)
    progressed.event.progress.percent = 50
    many.take(of_many(progressed, TASK_ID))
    assert many.percent == 25
    many.take(of_many(succeeded(2), OTHER_ID))
    assert many.percent == 75
    assert many.tally == "1 succeeded, 1 running"
    assert ManyView([]).percent == 100
