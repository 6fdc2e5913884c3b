from __future__ import annotations

import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from gateway_service.settings import GatewaySettings
from shared.settings import SharedSettings, read_settings
from worker_service.settings import WorkerSettings

OURS = ("REDIS_URL", "RABBITMQ_URL", "TASKCAST_", "WORKER_", "GATEWAY_")


@pytest.fixture(autouse=True)
def _an_environment_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)


def test_without_a_word_the_documented_defaults_hold() -> None:
    shared = read_settings(SharedSettings)
    assert (shared.redis_url, shared.rabbitmq_url) == ("redis://localhost:6379", "amqp://localhost")
    assert shared.lease == 10.0
    worker = read_settings(WorkerSettings)
    assert (worker.queues, worker.processes, worker.handlers) == (("default",), 1, ())
    assert (worker.max_attempts, worker.attempt_timeout) == (3, 60.0)
    gateway = read_settings(GatewaySettings)
    assert gateway.grpc_listen == "127.0.0.1:50051"
    assert gateway.processes == 1


def test_what_the_environment_says_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_HANDLERS", " my.tasks, ,other.tasks ")
    monkeypatch.setenv("WORKER_QUEUES", "fast,slow")
    monkeypatch.setenv("WORKER_COUNT", "3")
    monkeypatch.setenv("WORKER_NAME", "alpha")
    monkeypatch.setenv("TASKCAST_LEASE_SECONDS", "2.5")
    monkeypatch.setenv("REDIS_URL", "rediss://store:6380/2")
    worker = read_settings(WorkerSettings)
    assert worker.handlers == ("my.tasks", "other.tasks")
    assert worker.queues == ("fast", "slow")
    assert (worker.processes, worker.lease, worker.redis_url) == (3, 2.5, "rediss://store:6380/2")
    assert worker.process_name.startswith("alpha/")


def test_settings_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKCAST_NAMESPACE", "mine")
    settings = read_settings(SharedSettings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.namespace = "yours"


@pytest.mark.parametrize(
    ("kind", "variable", "value"),
    [
        (SharedSettings, "REDIS_URL", "localhost:6379"),
        (SharedSettings, "RABBITMQ_URL", "http://localhost"),
        (SharedSettings, "TASKCAST_NAMESPACE", "a.b"),
        (SharedSettings, "TASKCAST_NAMESPACE", ""),
        (SharedSettings, "TASKCAST_LEASE_SECONDS", "0.1"),
        (SharedSettings, "TASKCAST_LEASE_SECONDS", "ten"),
        (SharedSettings, "TASKCAST_STORE_DEADLINE_SECONDS", "0"),
        (SharedSettings, "TASKCAST_STORE_DEADLINE_SECONDS", "nan"),
        (SharedSettings, "TASKCAST_LOG_LEVEL", "loud"),
        (SharedSettings, "TASKCAST_LOG_FORMAT", "xml"),
        (WorkerSettings, "WORKER_COUNT", "0"),
        (WorkerSettings, "WORKER_COUNT", "many"),
        (WorkerSettings, "WORKER_CONCURRENCY", "-1"),
        (WorkerSettings, "WORKER_QUEUES", ""),
        (WorkerSettings, "WORKER_QUEUES", "good,not good"),
        (WorkerSettings, "TASKCAST_MAX_ATTEMPTS", "101"),
        (WorkerSettings, "TASKCAST_ATTEMPT_TIMEOUT_SECONDS", "-1"),
        (GatewaySettings, "GATEWAY_PROCESSES", "0"),
        (GatewaySettings, "GATEWAY_GRPC_LISTEN", "here"),
    ],
)
def test_a_bad_value_stops_the_process_with_a_sentence_that_names_the_variable(
    kind: type[SharedSettings],
    variable: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as stopped:
        read_settings(kind)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    told = "" if variable.endswith("_URL") else f"={value!r}"
    assert said.startswith(f"{variable}{told} is not usable: ")
    assert said.count("\n") == 1


def test_an_address_is_not_told_since_it_may_hold_a_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", "http://user:secret@store")
    with pytest.raises(SystemExit):
        read_settings(SharedSettings)
    assert "secret" not in capsys.readouterr().err


def test_every_bad_value_is_told_at_once_by_a_service_that_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker_service"],
        env={"PATH": "", "WORKER_COUNT": "none", "TASKCAST_NAMESPACE": "a b", "WORKER_HANDLERS": "x"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert {line.partition("=")[0] for line in lines} == {"WORKER_COUNT", "TASKCAST_NAMESPACE"}
