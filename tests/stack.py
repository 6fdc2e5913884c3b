"""The running system as a value: gateways and workers as processes, on servers that somebody else started."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import aio_pika
import grpc
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.deadlines import eventually
from tests.servers import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 40.0
"""Python, gRPC and all else are imported by several processes at once, on whatever machine runs the tests."""

LINES = ("high", "normal", "low")

RUNNING: weakref.WeakSet[Stack] = weakref.WeakSet()
"""The stacks whose logs are worth a look when a test fails."""


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
    """A gateway; its port stays the same over restarts."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        super().__init__(name, "gateway_service", {**environment, "GATEWAY_GRPC_LISTEN": self.address}, log)

    def is_ready(self) -> bool:
        return self.health() == health_pb2.HealthCheckResponse.SERVING

    def health(self) -> health_pb2.HealthCheckResponse.ServingStatus.ValueType | None:
        """What grpc.health.v1 says; None if nothing answers."""
        with grpc.insecure_channel(self.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            try:
                stub: health_pb2_grpc.HealthStub = health_pb2_grpc.HealthStub(channel)
                return stub.Check(health_pb2.HealthCheckRequest(), timeout=1).status
            except grpc.RpcError:
                return None


class WorkerService(Service):
    """A worker with the handlers of `tests.handlers`."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path) -> None:
        handlers = {"WORKER_HANDLERS": "tests.handlers", "WORKER_NAME": name.replace(" ", "-")}
        super().__init__(name, "worker_service", {**handlers, **environment}, log)

    def is_ready(self) -> bool:
        return bool(self.log_lines("worker.taking_tasks"))

    @property
    def attempts_name(self) -> str:
        """What the attempts that it runs call it."""
        return f"{self.environment['WORKER_NAME']}/{self.pid}"


@dataclass(frozen=True, slots=True)
class Noted:
    """A line of the ledger; see `tests.handlers.note`."""

    task_id: str
    attempt: int
    what: str
    pid: int
    at: float


class Stack:
    """Gateways and workers that share a namespace, and the ledger that their handlers write.

    Leave it to stop every process by its pid. With `tidy` its keys and queues are deleted as well.
    """

    def __init__(
        self,
        folder: Path,
        *,
        redis_url: str,
        rabbitmq_url: str,
        settings: Mapping[str, str] | None = None,
        tidy: bool = True,
    ) -> None:
        """`settings` are further environment variables of every process."""
        self.folder = folder
        self.namespace = f"t-{secrets.token_hex(4)}"
        self.redis_url = redis_url
        self.rabbitmq_url = rabbitmq_url
        self.gateways: list[GatewayService] = []
        self.workers: list[WorkerService] = []
        self._ledger = folder / "ledger"
        self._tidy = tidy
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TASKCAST_", "GATEWAY_", "WORKER_", "COVERAGE_"))
        }
        self._environment = {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": redis_url,
            "RABBITMQ_URL": rabbitmq_url,
            "TASKCAST_NAMESPACE": self.namespace,
            "TASKCAST_LEASE_SECONDS": "2",
            "TASKCAST_LOG_FORMAT": "json",
            "TASKCAST_TEST_LEDGER": str(self._ledger),
            **(settings or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        RUNNING.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        RUNNING.discard(self)
        with ExitStack() as steps:
            if self._tidy:
                steps.callback(self._delete_keys)
                steps.callback(self._delete_queues)
            for service in self.services:
                steps.callback(service.stop)
            # Told all at once, they need not be waited for one after the other.
            for service in self.services:
                if service.running:
                    service.terminate()
                    service.resume()

    @property
    def services(self) -> list[Service]:
        """All processes."""
        return [*self.gateways, *self.workers]

    @property
    def address(self) -> str:
        """Where the first gateway serves."""
        return self.gateways[0].address

    def start(self, *, gateways: int = 1, workers: int = 1) -> Self:
        """Start those that are new, and so many more, at once, and wait until all are ready."""
        for _ in range(gateways):
            self.new_gateway()
        for _ in range(workers):
            self.new_worker()
        new = [service for service in self.services if not service.running]
        for service in new:
            service.launch()
        with ThreadPoolExecutor(len(new)) as pool:
            for _ in pool.map(lambda service: service.wait_until_ready(), new):
                pass
        return self

    def new_gateway(self, **settings: str) -> GatewayService:
        """One more gateway, not started yet."""
        name = f"gateway {len(self.gateways) + 1}"
        gateway = GatewayService(name, {**self._environment, **settings}, self._log_of(name))
        self.gateways.append(gateway)
        return gateway

    def new_worker(self, **settings: str) -> WorkerService:
        """One more worker, not started yet."""
        name = f"worker {len(self.workers) + 1}"
        worker = WorkerService(name, {**self._environment, **settings}, self._log_of(name))
        self.workers.append(worker)
        return worker

    def gate(self) -> Gate:
        """A gate that is shut."""
        return Gate(self.folder / f"gate-{secrets.token_hex(4)}")

    def noted(self, task_id: str | None = None, what: str | None = None) -> list[Noted]:
        """The ledger's lines, oldest first, of one task and one kind if so asked."""
        text = self._ledger.read_text(encoding="utf-8") if self._ledger.exists() else ""
        lines = [Noted(**json.loads(line)) for line in text.splitlines()]
        return [
            line
            for line in lines
            if (task_id is None or line.task_id == task_id) and (what is None or line.what == what)
        ]

    def keys(self) -> set[str]:
        """All keys of the namespace, the gateways' list of themselves aside."""
        with redis.Redis.from_url(self.redis_url, protocol=2, socket_timeout=10) as client:
            found = {key.decode() for key in client.scan_iter(match=f"{self.namespace}:*", count=1_000)}
        return {key for key in found if not key.startswith(f"{self.namespace}:members:")}

    def logs(self) -> list[tuple[str, str]]:
        """The end of each process's log, under its name."""
        return [(f"log of {service.name}", service.log_tail()) for service in self.services]

    def _log_of(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.log"

    def _delete_keys(self) -> None:
        with redis.Redis.from_url(self.redis_url, protocol=2, socket_timeout=10) as client:
            for key in client.scan_iter(match=f"{self.namespace}:*", count=1_000):
                client.delete(key)

    def _delete_queues(self) -> None:
        asyncio.run(self._delete_all_queues())

    async def _delete_all_queues(self) -> None:
        queues = {"default", *(worker.environment.get("WORKER_QUEUES", "default") for worker in self.workers)}
        async with AsyncExitStack() as opened:
            connection = await opened.enter_async_context(await aio_pika.connect(self.rabbitmq_url))
            channel = await opened.enter_async_context(connection.channel())
            for queue in queues:
                for line in LINES:
                    await channel.queue_delete(f"{self.namespace}.tasks.{queue}.{line}")
            await channel.queue_delete(f"{self.namespace}.marker")
            await channel.exchange_delete(f"{self.namespace}.events")


class Gate:
    """What waiting handlers wait for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def open(self, attempt: int | None = None) -> None:
        """Let the handlers go on, those of one attempt only if so asked."""
        (self._path if attempt is None else self._path.with_name(f"{self._path.name}-{attempt}")).touch()


def processor_seconds(pid: int) -> float:
    """How much processor time a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def record_time() -> float:
    """Seconds since the epoch, as the servers on this machine read them."""
    return time.time()
