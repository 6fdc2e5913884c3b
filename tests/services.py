"""Gateways and workers as processes of their own: started, watched through their logs, told or made to end."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.deadlines import eventually
from tests.servers import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

START_SECONDS = 40.0
"""Python, gRPC and all else are imported by several processes at once, on whatever machine runs the tests."""


class Service:
    """One gateway or worker process, with its log. It can be started again after it ended."""

    def __init__(self, name: str, module: str, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.environment = dict(environment)
        self._module = module
        self._process: ServerProcess | None = None
        self._log_begins = 0

    @property
    def pid(self) -> int:
        """The process id; RuntimeError while it does not run."""
        return self._running_process().pid

    @property
    def running(self) -> bool:
        """Whether the process exists."""
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it without waiting."""
        self._log_begins = self.log.stat().st_size if self.log.exists() else 0
        self._process = ServerProcess(
            self.name,
            [sys.executable, "-m", self._module],
            log=self.log,
            environment=self.environment,
        )
        self._process.start(ready=lambda: True, within=START_SECONDS)

    def wait_until_ready(self) -> None:
        """Return when it does its work. Raises AssertionError if it does not come to that."""

        def ready_or_dead() -> bool:
            return not self.running or self.is_ready()

        eventually(ready_or_dead, within=START_SECONDS, what=f"{self.name} to be ready\n{self.log_tail()}")
        assert self.running, f"{self.name} has ended\n{self.log_tail()}"

    def is_ready(self) -> bool:
        """Whether it does its work."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._running_process().kill()

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, *, within: float) -> int:
        """Its exit code, negative for a signal. Raises AssertionError if it does not end in time."""
        process = self._running_process()
        eventually(lambda: not process.running, within=within, what=f"{self.name} to end\n{self.log_tail()}")
        code = process.stop()
        assert code is not None
        return code

    def stop(self) -> int | None:
        """End it by SIGTERM, by force after 30 s; its exit code."""
        return None if self._process is None else self._process.stop()

    def pause(self) -> None:
        """Freeze it (SIGSTOP)."""
        self._running_process().pause()

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._running_process().resume()

    def log_lines(self, event: str) -> list[dict[str, object]]:
        """What it has logged as `event` since it was last started."""
        found = []
        for line in self._log_text().splitlines():
            if event in line and line.startswith("{"):
                entry = json.loads(line)
                if entry.get("event") == event:
                    found.append(entry)
        return found

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of its log."""
        return "\n".join(self._log_text().splitlines()[-lines:])

    def _log_text(self) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_begins)
            return log.read().decode(errors="replace")

    def _running_process(self) -> ServerProcess:
        if self._process is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._process


class GatewayService(Service):
    """A gateway; its ports stay the same over restarts."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.http_address = f"127.0.0.1:{free_port()}"
        listen = {"GATEWAY_HTTP_LISTEN": self.http_address, **environment, "GATEWAY_GRPC_LISTEN": self.address}
        super().__init__(name, "gateway_service", listen, log)

    @property
    def http(self) -> str:
        """Where it serves HTTP."""
        return f"http://{self.http_address}"

    def is_ready(self) -> bool:
        return self.health() == health_pb2.HealthCheckResponse.SERVING

    def health(self) -> int | None:
        """What grpc.health.v1 says; None if nothing answers."""
        with grpc.insecure_channel(self.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            try:
                # Nobody has typed this stub's methods.
                stub: Any = health_pb2_grpc.HealthStub(channel)
                status: int = stub.Check(health_pb2.HealthCheckRequest(), timeout=1).status
            except grpc.RpcError:
                return None
            return status


class WorkerService(Service):
    """A worker with the handlers of the tests."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path) -> None:
        super().__init__(name, "worker_service", {"WORKER_NAME": name.replace(" ", "-"), **environment}, log)

    def is_ready(self) -> bool:
        last = "sending_webhooks" if self.environment.get("WORKER_ROLE") == "webhooks" else "taking_tasks"
        return bool(self.log_lines(f"worker.{last}"))

    @property
    def attempts_name(self) -> str:
        """What the attempts that it runs call it."""
        return f"{self.environment['WORKER_NAME']}/{self.pid}"


def processor_seconds(pid: int) -> float:
    """How much processor time a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """The process ids of its children."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


def resident_bytes(pid: int) -> int:
    """How much memory a process has in use."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
