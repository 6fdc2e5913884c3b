"""What the services tell Prometheus: the numbers of what really happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.clients import calling
from tests.deadlines import eventually
from tests.http_client import HttpClient
from tests.servers import free_port

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.e2e


def _numbers(address: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    reply = HttpClient(address).get("/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


def _of(address: str, name: str, **labels: str) -> float:
    return _numbers(address).get((name, tuple(sorted(labels.items()))), 0)


async def test_calls_events_and_attempts_are_counted_where_they_happen(own_stack: Stack) -> None:
    watched = f"127.0.0.1:{free_port()}"
    own_stack.new_worker(WORKER_METRICS_LISTEN=watched)
    own_stack.start(workers=0)
    gateway = own_stack.gateways[0].http_address
    http = HttpClient(gateway)
    async with calling(own_stack.address) as caller:
        for _ in range(3):
            task = await caller.submit("test.echo", 1)
            await caller.watch(task.id, 0, within=20)
    task_id = http.post("/tasks", {"type": "test.fail"}).json["task"]["id"]
    with http.stream(f"/tasks/{task_id}/stream?afterSequence=0") as stream:
        assert len(list(stream)) == 4
    assert http.get("/nothing").status == 404
    unary = {"grpc_type": "unary", "grpc_service": "taskcast.v1.TaskService", "grpc_method": "SubmitTask"}
    watch = {"grpc_type": "server_stream", "grpc_service": "taskcast.v1.TaskService", "grpc_method": "WatchTask"}
    assert _of(gateway, "grpc_server_started_total", **unary) == 3
    assert _of(gateway, "grpc_server_handled_total", grpc_code="OK", **unary) == 3
    assert _of(gateway, "grpc_server_handling_seconds_count", **watch) == 3
    assert _of(gateway, "http_requests_total", method="POST", route="/tasks", status="202") == 1
    assert _of(gateway, "http_requests_total", method="GET", route="/tasks/{task_id}/stream", status="200") == 1
    assert _of(gateway, "http_requests_total", method="GET", route="none", status="404") == 1
    assert _of(gateway, "taskcast_events_total", type="submitted") == 4
    assert _of(gateway, "taskcast_record_up") == 1
    eventually(lambda: _of(gateway, "taskcast_broker_up") == 1, within=10, what="the broker to be counted as there")
    eventually(lambda: _of(gateway, "taskcast_undispatched") == 0, within=10, what="all to be dispatched")
    assert _of(watched, "taskcast_events_total", type="started") == 4
    assert _of(watched, "taskcast_events_total", type="succeeded") == 3
    assert _of(watched, "taskcast_events_total", type="failed") == 1
    assert _of(watched, "taskcast_wait_seconds_count") == 4
    eventually(lambda: _of(watched, "taskcast_worker_running") == 0, within=10, what="nothing to run")
    assert _of(watched, "taskcast_attempt_seconds_count", outcome="succeed") == 3
    assert _of(watched, "taskcast_attempt_seconds_count", outcome="fail") == 1
    assert _of(watched, "taskcast_worker_slots") == 32


def test_processes_that_share_a_port_answer_for_each_other(own_stack: Stack) -> None:
    watched = f"127.0.0.1:{free_port()}"
    own_stack.new_gateway(GATEWAY_PROCESSES="2")
    own_stack.new_worker(WORKER_COUNT="2", WORKER_METRICS_LISTEN=watched)
    own_stack.start(gateways=0, workers=0)
    gateway = own_stack.gateways[0].http_address
    for _ in range(20):
        assert HttpClient(gateway).post("/tasks", {"type": "test.echo"}).status == 202
    for _ in range(6):
        assert _of(gateway, "http_requests_total", method="POST", route="/tasks", status="202") == 20
    eventually(lambda: _of(watched, "taskcast_events_total", type="succeeded") == 20, within=20, what="20 successes")
    # One of them may do all of the work before the other has begun.
    eventually(lambda: _of(watched, "taskcast_worker_slots") == 64, within=20, what="the slots of both workers")
