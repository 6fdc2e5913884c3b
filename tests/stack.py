"""The running system as a value: gateways and workers as processes, on servers that somebody else started."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import aio_pika
import redis

from tests.endpoints import SECRET
from tests.handlers_anywhere import write_command_file
from tests.services import GatewayService, Service, WorkerService

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
LINES = ("high", "normal", "low")

RUNNING: weakref.WeakSet[Stack] = weakref.WeakSet()
"""The stacks whose logs are worth a look when a test fails."""


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
            "WORKER_DRAIN_SECONDS": "5",
            "TASKCAST_WEBHOOK_SECRET": SECRET,
            "TASKCAST_WEBHOOK_ALLOW": "127.0.0.0/8",
            "TASKCAST_TEST_LEDGER": str(self._ledger),
            **(settings or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        commands = write_command_file(folder / "commands.toml")
        self._environment.setdefault("WORKER_HANDLERS", f"tests.handlers,tests.handlers_anywhere,{commands}")

    def __enter__(self) -> Self:
        RUNNING.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        RUNNING.discard(self)
        with ExitStack() as steps:
            if self._tidy:
                steps.callback(delete_keys, self.redis_url, self.namespace)
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
        """All keys of the namespace, but for what gateways and workers say of themselves."""
        with redis.Redis.from_url(self.redis_url, protocol=2, socket_timeout=10) as client:
            found = {key.decode() for key in client.scan_iter(match=f"{self.namespace}:*", count=1_000)}
        own = (f"{self.namespace}:members:", f"{self.namespace}:worker:")
        return {key for key in found if not key.startswith(own)}

    def logs(self) -> list[tuple[str, str]]:
        """The end of each process's log, under its name."""
        return [(f"log of {service.name}", service.log_tail()) for service in self.services]

    def _log_of(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.log"

    def _delete_queues(self) -> None:
        # In a thread, since the caller's may have an event loop that runs.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: asyncio.run(self._delete_all_queues())).result()

    async def _delete_all_queues(self) -> None:
        queues = {"default", *(worker.environment.get("WORKER_QUEUES", "default") for worker in self.workers)}
        async with await aio_pika.connect(self.rabbitmq_url) as connection, connection.channel() as channel:
            for queue in queues:
                for line in LINES:
                    await channel.queue_delete(f"{self.namespace}.tasks.{queue}.{line}")
            await channel.queue_delete(f"{self.namespace}.marker")
            await channel.queue_delete(f"{self.namespace}.webhooks")
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


def delete_keys(redis_url: str, prefix: str) -> None:
    """Leave nothing of this prefix in a Redis that others may use."""
    with redis.Redis.from_url(redis_url, protocol=2, socket_timeout=10) as client:
        for key in client.scan_iter(match=f"{prefix}:*", count=1_000):
            client.delete(key)


def record_time() -> float:
    """Seconds since the epoch, as the servers on this machine read them."""
    return time.time()
