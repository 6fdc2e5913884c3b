"""Embedded mode as a user meets it: one command, no server, no broker."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from taskcast.client.fields import to_value
from taskcast.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc
from tests.deadlines import eventually
from tests.http_client import HttpClient
from tests.servers import free_port
from tests.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.e2e

START_SECONDS = 40.0
STOP_SECONDS = 40.0


class Dev:
    """A running `taskcast dev`."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.http = f"127.0.0.1:{free_port()}"
        self.output = folder / f"dev-{time.monotonic_ns()}.log"
        # Short, as a socket's path has to be. What is left in it is told by `store_pids` and deleted by the fixture.
        self.scratch = Path(tempfile.mkdtemp(prefix="t-"))
        command = [
            sys.executable,
            "-m",
            "taskcast.cli",
            "dev",
            "--listen",
            self.address,
            "--http",
            self.http,
            *arguments,
        ]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(
                    WORKER_HANDLERS="tests.handlers",
                    TASKCAST_TEST_LEDGER=str(folder / "ledger"),
                    TASKCAST_LEASE_SECONDS="2",
                    **{"TMPDIR": str(self.scratch), **settings},
                ),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def ready(self) -> Dev:
        eventually(
            lambda: "Stop with Ctrl-C" in self.text() or self.process.poll() is not None,
            within=START_SECONDS,
            what="taskcast dev to be ready",
        )
        assert self.process.poll() is None, self.text()
        return self

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def text(self) -> str:
        return self.output.read_text()

    def store_pids(self) -> list[int]:
        """The private store's processes: those whose command line names this test's scratch folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue  # It ended while we looked.
            if f"{self.scratch}/taskcast-" in command:
                found.append(int(entry.name))
        return found


def environment(**settings: str) -> dict[str, str]:
    ours = ("TASKCAST_", "GATEWAY_", "WORKER_", "REDIS_URL", "RABBITMQ_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **settings}


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def start(*arguments: str, **settings: str) -> Dev:
        started.append(Dev(tmp_path, *arguments, **settings))
        return started[-1]

    yield start
    for one in started:
        one.stop(signal.SIGKILL)
        shutil.rmtree(one.scratch, ignore_errors=True)


def stub_of(channel: grpc.Channel) -> task_service_pb2_grpc.TaskServiceStub:
    return task_service_pb2_grpc.TaskServiceStub(channel)


def test_the_demo_shows_a_real_job_from_0_to_100_and_its_result(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for number in range(40):
        (tmp_path / "files" / f"{number}.bin").write_bytes(bytes([number]) * 500_000)
    done = subprocess.run(
        [sys.executable, "-m", "taskcast.cli", "dev", "--demo"],
        cwd=tmp_path / "files",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    percents = [int(percent) for percent in re.findall(r"(\d+) %", done.stdout)]
    assert percents == sorted(percents)
    assert percents[0] < 50
    assert percents[-1] == 100
    assert "SUCCESS" in done.stdout
    assert '"files":40' in done.stdout
    assert "Traceback" not in done.stderr


def test_it_says_how_to_use_it_and_ends_quietly_on_ctrl_c(dev: Callable[..., Dev]) -> None:
    running = dev().ready()
    assert f"grpcurl -plaintext {running.address} list" in running.text()
    assert f"taskcast --server {running.address} submit" in running.text()
    assert f"curl http://{running.http}/tasks" in running.text()
    assert HttpClient(running.http).get("/readyz").status == 200
    assert running.store_pids()
    assert running.stop() == 0
    assert "Traceback" not in running.text()
    assert not running.store_pids()


def test_tasks_survive_a_restart_with_a_data_folder(dev: Callable[..., Dev], tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    first = dev("--data", data).ready()
    with grpc.insecure_channel(first.address) as channel:
        finished = stub_of(channel).SubmitTask(task_service_pb2.SubmitTaskRequest(type="test.echo")).task.id
        request = task_service_pb2.WatchTaskRequest(task_id=finished)
        assert list(stub_of(channel).WatchTask(request))
        later = task_service_pb2.SubmitTaskRequest(type="test.echo", queue="nobody")
        waiting = stub_of(channel).SubmitTask(later).task.id
    # Killed, not stopped: what was acknowledged is kept all the same.
    first.stop(signal.SIGKILL)
    eventually(lambda: not first.store_pids(), within=20, what="the store to end with its process")
    second = dev("--data", data).ready()
    with grpc.insecure_channel(second.address) as channel:
        stub = stub_of(channel)
        task = stub.GetTask(task_service_pb2.GetTaskRequest(task_id=finished)).task
        assert task.status == task_pb2.TASK_STATUS_SUCCESS
        task = stub.GetTask(task_service_pb2.GetTaskRequest(task_id=waiting)).task
        assert task.status == task_pb2.TASK_STATUS_WAITING
        assert stub.CancelTask(task_service_pb2.CancelTaskRequest(task_id=waiting)).task.status


def test_a_task_that_waited_in_the_lost_broker_runs_after_the_restart(dev: Callable[..., Dev], tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    first = dev("--data", data).ready()
    with grpc.insecure_channel(first.address) as channel:
        later = task_service_pb2.SubmitTaskRequest(type="test.echo", queue="other")
        waiting = stub_of(channel).SubmitTask(later).task.id
    first.stop(signal.SIGKILL)
    eventually(lambda: not first.store_pids(), within=20, what="the store to end with its process")
    second = dev("--data", data, WORKER_QUEUES="default,other").ready()
    with grpc.insecure_channel(second.address) as channel:
        *_, last = stub_of(channel).WatchTask(task_service_pb2.WatchTaskRequest(task_id=waiting), timeout=20)
    assert task_pb2.TASK_STATUS_SUCCESS in (last.event.status, last.snapshot.status)


def test_a_long_name_of_the_folder_for_temporary_files_does_no_harm(dev: Callable[..., Dev], tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    running = dev(TMPDIR=str(long)).ready()

    assert running.stop() == 0


def test_two_at_once_cannot_share_a_data_folder(dev: Callable[..., Dev], tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    dev("--data", data).ready()
    second = dev("--data", data)
    assert second.process.wait(START_SECONDS) == 1
    assert second.text().strip() == f"--data {data} is in use by another `taskcast dev`."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--handlers", "no.such.module"], "cannot be imported"),
        (["--handlers", "json"], "has no function with @task"),
        (["--data", "/proc/nowhere"], "cannot be used"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(dev: Callable[..., Dev], arguments: list[str], sentence: str) -> None:
    running = dev(*arguments)
    assert running.process.wait(START_SECONDS) == 1
    assert sentence in running.text()
    assert "Traceback" not in running.text()


def test_a_taken_port_is_said_in_a_sentence(dev: Callable[..., Dev]) -> None:
    first = dev().ready()
    second = dev("--listen", first.address)
    assert second.process.wait(START_SECONDS) == 1
    assert f"cannot listen on {first.address}" in second.text()
    assert "Traceback" not in second.text()


def test_a_handler_that_listens_to_nobody_does_not_keep_it_from_stopping(
    dev: Callable[..., Dev], tmp_path: Path
) -> None:
    running = dev(WORKER_DRAIN_SECONDS="1").ready()
    with grpc.insecure_channel(running.address) as channel:
        stub = stub_of(channel)
        never_opened = {"gate": str(tmp_path / "gate")}
        submit = task_service_pb2.SubmitTaskRequest(type="test.stubborn", payload=to_value(never_opened))
        task_id = stub.SubmitTask(submit).task.id
        request = task_service_pb2.GetTaskRequest(task_id=task_id)
        eventually(
            lambda: stub.GetTask(request).task.status == task_pb2.TASK_STATUS_PROCESSING,
            within=20,
            what="the handler to run",
        )
    assert running.stop() == 0
    eventually(lambda: not running.store_pids(), within=20, what="the store to end with its process")
