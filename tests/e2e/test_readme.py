"""The README as a user follows it: its handler is installed, its transcripts are repeated, its commands exist."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2

from taskcast.v1 import admin_service_pb2, task_service_pb2
from tests.documents import CONTRIBUTING, README, ROOT
from tests.servers import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import MethodDescriptor

    from tests.documents import Document

pytestmark = pytest.mark.e2e

START_SECONDS = 40.0
COMMAND_SECONDS = 60.0
README_ADDRESS = "127.0.0.1:50051"
README_HTTP_ADDRESS = "127.0.0.1:8080"
CURL = shutil.which("curl")
GRPCURL = Path(sys.executable).parent / "grpcurl"
"""The wheel that pyproject.toml names puts it beside the interpreter, where there is a wheel for the machine."""

HAS_WHEEL = sys.platform == "linux" and platform.machine() == "x86_64"
LEFT_OUT = "..."

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VARYING = (
    (re.compile(r'"\d{4}-\d\d-\d\dT[\d:.]+Z"'), '"<time>"'),
    (re.compile(r'"worker": "[^"]+"'), '"worker": "<worker>"'),
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One command of a transcript, as the README prints it, and what it prints below."""

    command: str
    output: str

    def __str__(self) -> str:
        return self.command


def _exchanges() -> list[Exchange]:
    """All commands of the README's transcripts, in order. A backslash continues a line."""
    exchanges = []
    for block in README.blocks("console"):
        for exchange in block.replace("\\\n", " ").removeprefix("$ ").split("\n$ "):
            command, _, output = exchange.partition("\n")
            exchanges.append(Exchange(command, output.rstrip("\n")))
    return exchanges


def _files() -> dict[str, str]:
    """The files that the README has its reader write, by the names in their first lines."""
    return {block.splitlines()[0].removeprefix("# "): block for block in README.blocks("python")}


def _environment() -> dict[str, str]:
    """What a user has: nothing set, and Taskcast installed."""
    ours = ("TASKCAST_", "GATEWAY_", "WORKER_", "REDIS_URL", "RABBITMQ_URL", "COVERAGE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {
        **inherited,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "200",
        "TERM": "dumb",
        "NO_PROXY": "*",
    }


@pytest.fixture(scope="module")
def user_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the README's files."""
    folder = tmp_path_factory.mktemp("readme")
    for name, content in _files().items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def http_address() -> str:
    """Where `address` serves HTTP."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def address(user_folder: Path, http_address: str) -> Iterator[str]:
    """A gateway and a worker with the README's handler: `taskcast dev --handlers my_tasks`."""
    address = f"127.0.0.1:{free_port()}"
    arguments = ["dev", "--handlers", "my_tasks", "--listen", address, "--http", http_address]
    server = ServerProcess(
        "taskcast dev",
        [sys.executable, "-m", "taskcast.cli", *arguments],
        log=user_folder / "dev.log",
        environment=_environment(),
    )
    with server:
        server.start(ready=lambda: _is_serving(address), within=START_SECONDS)
        yield address


def _is_serving(address: str) -> bool:
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING


def _run(command: str, folder: Path) -> str:
    """Everything that a command prints, whatever its exit status: a transcript may show an error."""
    programs = {"grpcurl": str(GRPCURL), "python": sys.executable, "curl": str(CURL)}
    name, *arguments = shlex.split(command)
    done = subprocess.run(
        [programs[name], *arguments],
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return done.stdout.rstrip("\n")


def _normalised(output: str) -> str:
    """Without what differs each time, and without spaces that nobody sees."""
    for pattern, name in _VARYING:
        output = pattern.sub(name, output)
    return "\n".join(line.rstrip() for line in output.splitlines())


def _as_pattern(expected: str) -> re.Pattern[str]:
    """What the README prints: a line of three dots standing for any number of lines."""
    lines = ["(?:.*\n)*?" if line == LEFT_OUT else _line_as_pattern(line) for line in expected.splitlines()]
    return re.compile("".join(lines))


def _line_as_pattern(line: str) -> str:
    """Three dots within a line stand for any text of it."""
    return ".*".join(re.escape(part) for part in line.split(LEFT_OUT)) + "\n"


def test_the_readme_lets_grpcurl_list_describe_submit_watch_cancel_and_get() -> None:
    told = " ".join(exchange.command for exchange in _exchanges() if exchange.command.startswith("grpcurl "))
    for what in (" list", " describe ", "/SubmitTask", "/WatchTask", "/CancelTask", "/GetTask"):
        assert what in told
    assert "-proto" not in told


def test_the_readme_lets_curl_submit_follow_look_and_cancel() -> None:
    told = " ".join(exchange.command for exchange in _exchanges() if exchange.command.startswith("curl "))
    for what in ("/tasks -H", "/stream?afterSequence=0", "/cancel ", "Idempotency-Key"):
        assert what in told
    assert re.search(rf"/tasks/{ID.pattern}(?: |$)", told)


@pytest.mark.skipif(not HAS_WHEEL, reason="the grpcurl wheel is for Linux on x86-64")
@pytest.mark.skipif(CURL is None, reason="there is no curl on this machine")
def test_the_transcripts_are_what_really_happens(address: str, http_address: str, user_folder: Path) -> None:
    for script in user_folder.glob("*.py"):
        script.write_text(script.read_text(encoding="utf-8").replace(README_ADDRESS, address), encoding="utf-8")
    real_ids: dict[str, str] = {}
    for exchange in _exchanges():
        command = exchange.command.replace(README_ADDRESS, address).replace(README_HTTP_ADDRESS, http_address)
        for told, real in real_ids.items():
            command = command.replace(told, real)
        unknown = set(ID.findall(command)) - set(real_ids.values())
        assert not unknown, f"no command before it printed the id in: {exchange}"
        output = _run(command, user_folder)
        for told, real in zip(ID.findall(exchange.output), ID.findall(output), strict=False):
            real_ids.setdefault(told, real)
        for told, real in real_ids.items():
            output = output.replace(real, told)
        expected = _as_pattern(_normalised(exchange.output))
        assert expected.fullmatch(_normalised(output) + "\n"), (
            f"$ {exchange}\nprints\n{output}\nand the README says\n{exchange.output}"
        )


def test_every_call_of_the_contract_is_served(address: str) -> None:
    services = [
        *task_service_pb2.DESCRIPTOR.services_by_name.values(),
        *admin_service_pb2.DESCRIPTOR.services_by_name.values(),
    ]
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        not_served = {
            method.name for service in services for method in service.methods if not _is_served(channel, method)
        }
    assert not not_served


def _is_served(channel: grpc.Channel, method: MethodDescriptor) -> bool:
    """Whether an empty request is answered with anything but UNIMPLEMENTED."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if method.server_streaming:
            list(channel.unary_stream(path, request_serializer=bytes, response_deserializer=bytes)(b"", timeout=10))
        else:
            channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)(b"", timeout=10)
    except grpc.RpcError as error:
        return error.code() is not grpc.StatusCode.UNIMPLEMENTED
    return True


def _commands_of(document: Document, program: str) -> list[str]:
    """Commands that begin with `program`, in blocks and in single backticks; a comment ends one."""
    lines = [line for language in ("sh", "console") for line in "\n".join(document.blocks(language)).splitlines()]
    candidates = [line.removeprefix("$ ").partition(" #")[0].strip() for line in lines]
    return [text for text in [*candidates, *document.spans()] if re.match(rf"{program}(?: |$)", text)]


@pytest.mark.parametrize("document", [README, CONTRIBUTING], ids=str)
def test_every_make_target_that_is_named_exists(document: Document) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = [shlex.split(command)[1:] for command in _commands_of(document, "make")]
    named = {word for words in commands for word in words if "=" not in word}
    assert named
    assert named <= targets


@pytest.fixture(scope="module")
def help_of() -> dict[str, str]:
    """The help of every command of the CLI that the README names."""
    names = {shlex.split(command)[1] for command in _commands_of(README, "taskcast") if " " in command}
    texts = {}
    for name in sorted(names):
        done = subprocess.run(
            [sys.executable, "-m", "taskcast.cli", name, "--help"],
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"taskcast {name} --help: {done.stderr}"
        texts[name] = done.stdout
    return texts


def test_every_taskcast_command_that_the_readme_names_exists_with_its_options(help_of: dict[str, str]) -> None:
    assert {"submit", "get", "watch", "cancel", "dev"} <= set(help_of)
    for command in _commands_of(README, "taskcast"):
        _, *words = shlex.split(command)
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", help_of[words[0]]), command
