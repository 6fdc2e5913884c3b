"""The worker's settings."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from shared.domain.submission import NAME
from shared.settings import CommaSeparated, Seconds, SharedSettings

if TYPE_CHECKING:
    from shared.domain.task import Millis


ROLES = ("all", "tasks", "webhooks")


class WorkerSettings(SharedSettings):
    """What only the worker reads. The alias of a field is its environment variable."""

    role: str = Field("all", alias="WORKER_ROLE", pattern=f"^({'|'.join(ROLES)})$")
    handlers: CommaSeparated = Field((), alias="WORKER_HANDLERS")
    queues: CommaSeparated = Field(("default",), alias="WORKER_QUEUES")
    processes: int = Field(1, alias="WORKER_COUNT", ge=1, le=256)
    concurrency: int = Field(32, alias="WORKER_CONCURRENCY", ge=1, le=10_000)
    name: str = Field("", alias="WORKER_NAME", max_length=128)
    metrics_listen: str = Field("", alias="WORKER_METRICS_LISTEN", pattern=r"^(\S+:\d{1,5})?$")
    drain: Seconds = Field(30.0, alias="WORKER_DRAIN_SECONDS")
    kill_grace: Seconds = Field(3.0, alias="WORKER_KILL_GRACE_SECONDS")
    max_result_bytes: int = Field(1 << 20, alias="TASKCAST_MAX_RESULT_BYTES", ge=1, le=64 << 20)
    max_attempts: int = Field(3, alias="TASKCAST_MAX_ATTEMPTS", ge=1, le=100)
    attempt_timeout: float = Field(60.0, alias="TASKCAST_ATTEMPT_TIMEOUT_SECONDS", ge=0, le=315_360_000)

    webhook_retries: str = Field("5,30,120,600,3600,14400,43200,86400", alias="TASKCAST_WEBHOOK_RETRY_SECONDS")
    webhook_timeout: float = Field(15.0, alias="TASKCAST_WEBHOOK_TIMEOUT_SECONDS", gt=0, le=300)
    webhook_concurrency: int = Field(256, alias="TASKCAST_WEBHOOK_CONCURRENCY", ge=1, le=10_000)
    webhook_host_concurrency: int = Field(8, alias="TASKCAST_WEBHOOK_HOST_CONCURRENCY", ge=1, le=1_000)
    webhook_disable: float = Field(432_000.0, alias="TASKCAST_WEBHOOK_DISABLE_SECONDS", gt=0, le=315_360_000)

    @field_validator("webhook_retries")
    @classmethod
    def _are_waits(cls, value: str) -> str:
        _waits(value)
        return value

    @field_validator("queues")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        bad = [queue for queue in value if not NAME.fullmatch(queue) or len(queue) > 64]
        if bad or not value:
            raise ValueError(f"{', '.join(bad) or 'nothing'} is no list of queue names")
        return value

    @property
    def runs_tasks(self) -> bool:
        """Whether the process runs handlers."""
        return self.role != "webhooks"

    @property
    def sends_webhooks(self) -> bool:
        """Whether the process sends webhooks."""
        return self.role != "tasks"

    @property
    def webhook_schedule(self) -> tuple[Millis, ...]:
        """The waits between the tries of a webhook."""
        return _waits(self.webhook_retries)

    @property
    def process_name(self) -> str:
        """What attempts and logs call this process: `WORKER_NAME`, else the host's name, and the process id."""
        return f"{self.name or socket.gethostname()}/{os.getpid()}"


def _waits(text: str) -> tuple[Millis, ...]:
    try:
        seconds = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ValueError("it is no list of seconds") from None
    if not all(0 <= wait <= 31_536_000 for wait in seconds) or len(seconds) > 100:
        raise ValueError("it holds at most 100 waits, each of at most a year")
    return tuple(round(wait * 1_000) for wait in seconds)
