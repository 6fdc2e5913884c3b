"""The command line as its users meet it: processes, pipes, terminals and signals."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.deadlines import eventually
from tests.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from tests.stack import Stack

pytestmark = pytest.mark.e2e

NO_SUCH_TASK = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001"
SECONDS = 40.0
"""How long a command may take here; each starts a Python, on a machine that may have other things to do."""

LINES, COLUMNS = 24, 100

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _environment(address: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKCAST_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TASKCAST_SERVER": address, **more}


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "taskcast.cli", *arguments]


def taskcast(address: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        _command(arguments),
        env=_environment(address),
        input=given,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


class Running:
    """A command that runs in a pipe or on a terminal, and what it has said so far."""

    def __init__(self, address: str, *arguments: str, on_terminal: bool = False) -> None:
        self.out = ""
        self.errors = ""
        self._readers: list[threading.Thread] = []
        if on_terminal:
            reading, out = pty.openpty()
            fcntl.ioctl(out, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
            errors = os.dup(out)
        else:
            reading, out = os.pipe()
            reading_errors, errors = os.pipe()
            self._read(reading_errors, "errors")
        self._read(reading, "out")
        self._process = subprocess.Popen(
            _command(arguments),
            env=_environment(address, TERM="xterm-256color", LANG="C.UTF-8"),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        os.close(out)
        os.close(errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join()

    @property
    def plain(self) -> str:
        """What it printed, without colours and movements of the cursor."""
        return CONTROL.sub("", self.out)

    def until(self, text: str) -> None:
        """Wait until it has printed this."""
        eventually(lambda: text in self.plain, within=SECONDS, what=f"{text!r} in what it prints")

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def exit_code(self) -> int:
        """Wait for its end, and for the last of what it prints."""
        code = self._process.wait(SECONDS)
        for reader in self._readers:
            reader.join(SECONDS)
        return code

    def _read(self, source: int, name: str) -> None:
        def read() -> None:
            # A terminal whose other side is closed answers with an error, a pipe with nothing.
            with contextlib.suppress(OSError):
                while chunk := os.read(source, 65_536):
                    setattr(self, name, getattr(self, name) + chunk.decode(errors="replace"))
            os.close(source)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        self._readers.append(reader)


def objects(text: str) -> list[dict[str, Any]]:
    """What --json printed: one compact object a line, and nothing else."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(each, dict) for each in found)
    assert [json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in found] == text.splitlines()
    return found


def sequences(text: str) -> list[int]:
    """The sequences of the events that --json printed."""
    return [int(line["event"]["sequence"]) for line in objects(text)]


@pytest.fixture(name="address")
def _address(standing_stack: Stack) -> str:
    return standing_stack.address


def test_submit_and_watch_prints_every_event_of_a_task_that_succeeds(address: str) -> None:
    payload = json.dumps({"steps": 5, "pause": 0.1})
    done = taskcast(address, "submit", "test.steps", "--payload", payload, "--watch", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    events = [line["event"] for line in objects(done.stdout)]
    assert sequences(done.stdout) == list(range(1, len(events) + 1))
    assert [events[0]["type"], events[1]["type"]] == ["TYPE_SUBMITTED", "TYPE_STARTED"]
    assert events[-1]["type"] == "TYPE_SUCCEEDED"
    assert events[-1]["result"] == {"steps": 5, "attempt": 1}


def test_a_task_that_does_not_succeed_makes_the_command_exit_with_1(address: str) -> None:
    done = taskcast(address, "submit", "test.fail", "--watch")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("FAILED in ")
    assert done.stdout.splitlines()[-1].endswith("NO_LUCK: there is nothing to be done")
    assert "\x1b" not in done.stdout


def test_a_task_that_is_tried_again_tells_of_each_attempt(address: str) -> None:
    options = ["--payload", "1", "--max-attempts", "2", "--watch"]
    done = taskcast(address, "submit", "test.boom", *options)
    assert done.returncode == 1
    assert "attempt 2 started" in done.stdout
    assert "attempt 2: UNHANDLED_EXCEPTION: RuntimeError: boom 1" in done.stdout.splitlines()[-1]


def test_submit_get_watch_and_cancel_speak_of_one_task(standing_stack: Stack, address: str) -> None:
    gate = standing_stack.gate()
    payload = json.dumps({"gate": str(gate)})
    submitted = taskcast(address, "submit", "test.hold", "-", "--label", "team=blue", given=payload)
    assert submitted.returncode == 0
    task_id = submitted.stdout.strip()

    shown = taskcast(address, "get", task_id)
    assert shown.returncode == 0
    assert task_id in shown.stdout
    assert "team=blue" in shown.stdout
    (task,) = objects(taskcast(address, "get", task_id, "--json").stdout)
    assert task["payload"] == {"gate": str(gate)}

    cancelled = taskcast(address, "cancel", task_id, "--reason", "seen enough")
    assert (cancelled.returncode, cancelled.stderr) == (0, "")
    watched = taskcast(address, "watch", task_id)
    assert watched.returncode == 1
    assert re.fullmatch(r"CANCELLED in .*: seen enough\n", watched.stdout)
    last = int(task["sequence"]) + 10
    beyond = taskcast(address, "watch", task_id, "--after", str(last))
    assert beyond.returncode == 1
    assert beyond.stderr.startswith(f"Error: after_sequence is {last}")


def test_watching_a_finished_task_after_its_last_event_still_tells_the_outcome(address: str) -> None:
    done = taskcast(address, "submit", "test.echo", "--payload", '"ü"', "--watch", "--json")
    event = objects(done.stdout)[-1]["event"]
    again = taskcast(address, "watch", event["taskId"], "--after", event["sequence"])
    assert again.returncode == 0
    assert re.fullmatch(r'SUCCESS in \d+\.\d s: "ü"\n', again.stdout)


def test_the_same_request_id_gives_the_same_task(address: str) -> None:
    name = f"cli-{os.urandom(6).hex()}"
    first = taskcast(address, "submit", "test.echo", "--request-id", name)
    second = taskcast(address, "submit", "test.echo", "--request-id", name)
    assert first.stdout == second.stdout
    other = taskcast(address, "submit", "test.echo", "--payload", "2", "--request-id", name)
    assert other.returncode == 1
    assert name in other.stderr


@pytest.mark.parametrize("command", [["get"], ["cancel"], ["watch"], ["watch", "--json"]])
def test_an_unknown_id_is_an_error_of_one_sentence(address: str, command: list[str]) -> None:
    done = taskcast(address, *command, NO_SUCH_TASK)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Error: ")
    assert NO_SUCH_TASK in done.stderr


def test_bad_input_names_the_field(address: str) -> None:
    done = taskcast(address, "submit", "no spaces allowed")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: type ")
    assert "Traceback" not in done.stderr
    assert taskcast(address, "get", "not-an-id").stderr.startswith("Error: task_id ")


@pytest.mark.parametrize("on_terminal", [False, True])
def test_ctrl_c_ends_the_watch_and_not_the_task(standing_stack: Stack, on_terminal: bool) -> None:
    gate = standing_stack.gate()
    arguments = ["submit", "test.hold", "--payload", json.dumps({"gate": str(gate)}), "--watch"]
    with Running(standing_stack.address, *arguments, on_terminal=on_terminal) as command:
        command.until("holding")
        command.interrupt()
        assert command.exit_code() == 130
        said = " ".join(CONTROL.sub("", command.out + command.errors).split())
    match = re.search(r"Interrupted\. The task goes on; watch it again with: taskcast (.*)$", said)
    assert match, said
    assert "Traceback" not in said
    gate.open()
    again = taskcast(standing_stack.address, *match[1].split())
    assert again.returncode == 0
    assert "SUCCESS" in again.stdout


def test_on_a_terminal_a_bar_moves_and_the_outcome_stands_below(address: str) -> None:
    arguments = ["submit", "test.steps", "--payload", json.dumps({"steps": 10, "pause": 0.1}), "--watch"]
    with Running(address, *arguments, on_terminal=True) as command:
        assert command.exit_code() == 0
        shown = command.plain
    assert re.search(r"test\.steps ━+.* \d0 % \d/10 +step \d +attempt 1 ", shown)
    assert "100 % 10/10" in shown
    assert re.search(r'SUCCESS in \d\.\d s: {"attempt":1,"steps":10}\s*$', shown)
    assert "\x1b[?25h" in command.out, "the cursor must be shown again"


def test_a_reader_that_leaves_early_is_no_drama(address: str) -> None:
    payload = json.dumps({"steps": 50, "pause": 0.02})
    line = f"'{sys.executable}' -m taskcast.cli submit test.steps --payload '{payload}' --watch --json | head -n 1"
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        env=_environment(address),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert sequences(done.stdout) == [1]
    assert done.stderr == ""


@pytest.fixture(name="fragile")
def _fragile(own_stack: Stack) -> Stack:
    return own_stack.start()


@pytest.mark.faults
def test_a_watch_survives_a_gateway_that_is_killed_and_comes_back(fragile: Stack) -> None:
    gate = fragile.gate()
    arguments = ["submit", "test.hold", "--payload", json.dumps({"gate": str(gate)}), "--watch", "--json"]
    with Running(fragile.address, *arguments) as command:
        command.until("holding")
        (gateway,) = fragile.gateways
        gateway.kill()
        gate.open()
        gateway.start()
        assert command.exit_code() == 0
        seen = sequences(command.out)
        assert seen == list(range(1, len(seen) + 1))
        assert objects(command.out)[-1]["event"]["status"] == "TASK_STATUS_SUCCESS"
        assert command.errors == ""


@pytest.mark.faults
def test_the_bar_says_reconnecting_while_the_gateway_is_away_and_stops_saying_so(fragile: Stack) -> None:
    gate = fragile.gate()
    arguments = ["submit", "test.hold", "--payload", json.dumps({"gate": str(gate)}), "--watch"]
    with Running(fragile.address, *arguments, on_terminal=True) as command:
        command.until("holding")
        (gateway,) = fragile.gateways
        gateway.kill()
        command.until("reconnecting…")
        gateway.start()
        lost = len(command.plain)
        # By its heartbeats, although nothing has happened meanwhile.
        eventually(lambda: "holding" in command.plain[lost:], within=SECONDS, what="the bar to be current again")
        gate.open()
        assert command.exit_code() == 0
        assert "SUCCESS" in command.plain


@pytest.mark.faults
def test_a_watch_survives_a_gateway_that_hangs(fragile: Stack) -> None:
    gate = fragile.gate()
    arguments = ["submit", "test.hold", "--payload", json.dumps({"gate": str(gate)}), "--watch"]
    with Running(fragile.address, *arguments, on_terminal=True) as command:
        command.until("holding")
        (gateway,) = fragile.gateways
        gateway.pause()
        try:
            # Three heartbeats are missing.
            command.until("reconnecting…")
        finally:
            gateway.resume()
        gate.open()
        assert command.exit_code() == 0


@pytest.mark.faults
def test_a_submit_waits_for_a_gateway_that_is_just_coming(fragile: Stack) -> None:
    (gateway,) = fragile.gateways
    gateway.stop()
    with Running(fragile.address, "submit", "test.echo", "--json") as command:
        gateway.start()
        assert command.exit_code() == 0, command.errors
        assert objects(command.out)[0]["type"] == "test.echo"
