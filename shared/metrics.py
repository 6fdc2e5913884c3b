"""What Taskcast measures of itself, for Prometheus. Labels hold nothing that a client chooses freely.

With `PROMETHEUS_MULTIPROC_DIR`, which a service sets for its children where it has several processes, they share their
numbers through that folder, and any of them answers for all.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200)

EVENTS = Counter(
    "taskcast_events", "Events that this process has recorded, by type: submitted, succeeded ...", ["type"]
)
RECORD_UP = Gauge("taskcast_record_up", "1 while the task record answers.", multiprocess_mode="livemin")
BROKER_UP = Gauge("taskcast_broker_up", "1 while the broker is connected.", multiprocess_mode="livemin")

# The gateway's.
UNDISPATCHED = Gauge(
    "taskcast_undispatched", "Tasks taken in whose dispatch is not confirmed yet.", multiprocess_mode="livesum"
)
WATCHES = Gauge("taskcast_watches_open", "Watches and streams that are open.", multiprocess_mode="livesum")
GRPC_STARTED = Counter("grpc_server_started", "RPCs that have begun.", ["grpc_type", "grpc_service", "grpc_method"])
GRPC_HANDLED = Counter(
    "grpc_server_handled", "RPCs that have ended.", ["grpc_type", "grpc_service", "grpc_method", "grpc_code"]
)
GRPC_SECONDS = Histogram(
    "grpc_server_handling_seconds",
    "How long RPCs took.",
    ["grpc_type", "grpc_service", "grpc_method"],
    buckets=_SECONDS,
)
HTTP_REQUESTS = Counter("http_requests", "HTTP requests that have ended.", ["method", "route", "status"])
HTTP_SECONDS = Histogram(
    "http_request_duration_seconds", "How long HTTP requests took.", ["method", "route"], buckets=_SECONDS
)

# The worker's.
SLOTS = Gauge("taskcast_worker_slots", "Tasks that may run at once.", multiprocess_mode="livesum")
RUNNING = Gauge("taskcast_worker_running", "Tasks that run.", multiprocess_mode="livesum")
WAIT_SECONDS = Histogram(
    "taskcast_wait_seconds", "From the time a task could start to the start of its attempt.", buckets=_SECONDS
)
ATTEMPT_SECONDS = Histogram(
    "taskcast_attempt_seconds", "How long attempts ran, by what they came to.", ["outcome"], buckets=_SECONDS
)
WEBHOOK_TRIES = Counter(
    "taskcast_webhook_tries", "Tries of webhooks, by what came of them: accepted, timeout, status ...", ["outcome"]
)
WEBHOOK_TRY_SECONDS = Histogram("taskcast_webhook_try_seconds", "How long tries of webhooks took.", buckets=_SECONDS)
WEBHOOK_GIVEN_UP = Counter("taskcast_webhook_given_up", "Webhook deliveries that were given up.")
WEBHOOK_LANES = Gauge(
    "taskcast_webhook_lanes",
    "Lanes of webhooks, each of one task and endpoint, that are in hand.",
    multiprocess_mode="livesum",
)
WEBHOOK_BACKLOG_AGE = Gauge(
    "taskcast_webhook_backlog_age_seconds",
    "For how long the most overdue webhook has been due. 0: none is.",
    multiprocess_mode="livemax",
)


def counting(broadcast: Callable[[str, bytes], None]) -> Callable[[str, bytes], None]:
    """`broadcast`, which is called once for every event recorded, with a count of each type."""
    counters = {}

    def counted(routing_key: str, body: bytes) -> None:
        kind = routing_key.rpartition(".")[2]
        if kind not in counters:
            counters[kind] = EVENTS.labels(kind)
        counters[kind].inc()
        broadcast(routing_key, body)

    return counted


def is_shared() -> bool:
    """Whether this process shares its numbers with others."""
    return bool(os.environ.get(MULTIPROCESS))


@dataclass(frozen=True, slots=True)
class SharedNumbers:
    """The numbers of several processes that answer for each other."""

    folder: str

    @property
    def environment(self) -> dict[str, str]:
        """What the processes must find in their environment."""
        return {MULTIPROCESS: self.folder}

    def forget(self, pid: int) -> None:
        """A process has died: what it held, such as open watches, counts no longer."""
        mark_process_dead(pid, self.folder)  # type: ignore[no-untyped-call]


@contextmanager
def shared_by_children() -> Iterator[SharedNumbers]:
    """Shared numbers for the children of a service, in a folder of their own unless the environment names one."""
    if folder := os.environ.get(MULTIPROCESS):
        yield SharedNumbers(folder)
        return
    with tempfile.TemporaryDirectory(prefix="taskcast-metrics-") as scratch:
        yield SharedNumbers(scratch)


def exposition(accept: str) -> tuple[bytes, str]:
    """All numbers in the form that an `Accept` header asks for, and its media type."""
    registry = REGISTRY
    if is_shared():
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    encode, kind = choose_encoder(accept)
    return encode(registry), kind
