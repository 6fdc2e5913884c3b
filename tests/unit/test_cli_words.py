from __future__ import annotations

import io
import re
from datetime import timedelta

import grpc
import pytest
import typer
from google.protobuf import struct_pb2
from rich.console import Console

from taskcast.cli import words
from taskcast.cli.arguments import parse_duration
from taskcast.cli.bar import Bar
from taskcast.cli.view import TaskView
from taskcast.client import TaskcastError
from taskcast.v1 import task_pb2
from tests.unit.scripted_gateway import TASK_ID, event, snapshot, succeeded


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("1.5h", timedelta(minutes=90)),
        ("2h", timedelta(hours=2)),
        ("1d12h", timedelta(hours=36)),
        ("5m30s", timedelta(seconds=330)),
        ("0", timedelta(0)),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "30", "s", "-5s", "5 s", "5w", "1e3s", "5s ", "٣s"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_duration(text)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (99_999, "99,999"), (123_456, "123.5k"), (999_960, "1.0M"), (2**63 - 1, "9.2E")],
)
def test_counts_stay_short(number: int, shown: str) -> None:
    assert words.count(number) == shown


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.99, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7_500, "2 h 5 min"),
        (-3, "0.0 s"),
    ],
)
def test_lengths_of_time_are_told_as_people_do(length: float, shown: str) -> None:
    assert words.seconds(timedelta(seconds=length)) == shown


def test_control_characters_never_reach_a_terminal() -> None:
    assert words.one_line("a\x1b[2J\r\nb\u202ec\x07\ud800") == "a [2J b c"


def test_a_long_result_is_cut_off_with_a_word_on_where_the_rest_is() -> None:
    line = words.value_line(struct_pb2.Value(string_value="x" * 5_000), TASK_ID)
    assert len(line) < 800
    assert line.endswith(f"(the whole: taskcast get {TASK_ID} --json)")


def test_a_view_follows_a_task_through_a_retry() -> None:
    view = TaskView(TASK_ID)
    progressed = event(3)
    progressed.event.attempt = 1
    progressed.event.progress.completed = 1
    progressed.event.progress.total = 4
    view.take(snapshot(2))
    view.take(progressed)
    assert (view.percent, view.counts) == (25.0, "1/4")
    retry = event(4, task_pb2.TaskEvent.TYPE_RETRY_SCHEDULED, task_pb2.TASK_STATUS_WAITING)
    retry.event.attempt = 1
    retry.event.error.code = "LEASE_LOST"
    retry.event.next_attempt_time.FromSeconds(0)
    view.take(retry)
    assert view.activity.startswith("attempt 1 failed, next at ")
    assert view.activity.endswith(": LEASE_LOST")
    started = event(5, task_pb2.TaskEvent.TYPE_STARTED)
    started.event.attempt = 2
    view.take(started)
    assert (view.percent, view.counts, view.activity, view.attempt) == (None, "", "", 2)
    view.take(succeeded(6))
    assert view.finished
    assert view.succeeded
    assert view.percent == 100
    assert view.outcome.startswith("SUCCESS")


def test_a_cancelled_task_is_told_with_its_reason() -> None:
    view = TaskView(TASK_ID)
    view.take(snapshot(2))
    cancelled = event(3, task_pb2.TaskEvent.TYPE_CANCELLED, task_pb2.TASK_STATUS_CANCELLED)
    cancelled.event.cancel_reason = "changed my mind"
    view.take(cancelled)
    assert view.outcome.startswith("CANCELLED in ")
    assert view.outcome.endswith(": changed my mind")


def picture(bar: Bar, width: int) -> str:
    """The bar as one would see it."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(bar)
    return captured.get()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_bar_is_one_line_with_everything_in_it(width: int) -> None:
    view = TaskView(TASK_ID)
    bar = Bar(view, Console(file=io.StringIO(), width=width, force_terminal=True))
    first = snapshot(1)
    first.snapshot.create_time.GetCurrentTime()
    view.take(first)
    update = event(2)
    update.event.attempt = 1
    update.event.progress.percent = 45
    update.event.progress.completed = 45_000_000
    update.event.progress.total = 100_000_000
    update.event.progress.message = "reading a/folder/with/a/long/name/" * 4
    view.take(update)
    bar.found()
    bar.show(update)
    shown = picture(bar, width)
    assert len(shown.splitlines()) == 1
    parts = (
        ["demo.steps", " 45 %", "rea"]
        if width < 80
        else ["demo.steps", " 45 %", "45.0M/100.0M", "reading", "attempt 1"]
    )
    for part in parts:
        assert part in shown
    assert re.search(r"\d\.\d s$", shown.strip())
    bar.lost(TaskcastError(grpc.StatusCode.UNAVAILABLE, "gone"))
    assert "reconnecting…" in picture(bar, width)
    bar.found()
    assert "reconnecting…" not in picture(bar, width)
