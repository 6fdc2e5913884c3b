"""The worker's settings."""

from __future__ import annotations

import os
import socket

from pydantic import Field, field_validator

from shared.domain.submission import NAME
from shared.settings import CommaSeparated, Seconds, SharedSettings


class WorkerSettings(SharedSettings):
    """What only the worker reads. The alias of a field is its environment variable."""

    handlers: CommaSeparated = Field((), alias="WORKER_HANDLERS")
    queues: CommaSeparated = Field(("default",), alias="WORKER_QUEUES")
    processes: int = Field(1, alias="WORKER_COUNT", ge=1, le=256)
    concurrency: int = Field(32, alias="WORKER_CONCURRENCY", ge=1, le=10_000)
    name: str = Field("", alias="WORKER_NAME", max_length=128)
    drain: Seconds = Field(30.0, alias="WORKER_DRAIN_SECONDS")
    kill_grace: Seconds = Field(3.0, alias="WORKER_KILL_GRACE_SECONDS")
    max_result_bytes: int = Field(1 << 20, alias="TASKCAST_MAX_RESULT_BYTES", ge=1, le=64 << 20)
    max_attempts: int = Field(3, alias="TASKCAST_MAX_ATTEMPTS", ge=1, le=100)
    attempt_timeout: float = Field(60.0, alias="TASKCAST_ATTEMPT_TIMEOUT_SECONDS", ge=0, le=315_360_000)

    @field_validator("queues")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        bad = [queue for queue in value if not NAME.fullmatch(queue) or len(queue) > 64]
        if bad or not value:
            raise ValueError(f"{', '.join(bad) or 'nothing'} is no list of queue names")
        return value

    @property
    def process_name(self) -> str:
        """What attempts and logs call this process: `WORKER_NAME`, else the host's name, and the process id."""
        return f"{self.name or socket.gethostname()}/{os.getpid()}"
