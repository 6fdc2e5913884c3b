"""Tasks over HTTP: submitted, looked at, cancelled, and the same ones that gRPC sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.deadlines import eventually
from tests.http_client import HttpClient

if TYPE_CHECKING:
    from tests.http_client import Reply
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(name="clients")
def _clients(standing_stack: Stack) -> list[HttpClient]:
    return [HttpClient(gateway.http_address) for gateway in standing_stack.gateways]


def _finished(client: HttpClient, task_id: str) -> Reply:
    def look() -> Reply | None:
        reply = client.get(f"/tasks/{task_id}")
        return reply if "endTime" in reply.json["task"] else None

    found = eventually(look, within=20, what=f"{task_id} to end")
    assert found is not None
    return found


def test_a_task_is_submitted_run_and_read_on_any_gateway(clients: list[HttpClient]) -> None:
    submitted = clients[0].post("/tasks", {"type": "test.echo", "payload": {"n": [1, None, "é"]}, "labels": {"a": "b"}})
    assert submitted.status == 202
    task = submitted.json["task"]
    assert submitted.headers["location"] == f"/tasks/{task['id']}"
    assert task["status"] == "TASK_STATUS_WAITING"
    assert task["sequence"] == "1"
    assert "payload" not in task
    found = _finished(clients[1], task["id"])
    assert found.status == 200
    assert found.json["task"]["status"] == "TASK_STATUS_SUCCESS"
    assert found.json["task"]["payload"] == {"n": [1, None, "é"]}
    assert found.json["task"]["result"] == {"n": [1, None, "é"]}
    assert found.json["task"]["labels"] == {"a": "b"}


def test_an_idempotency_key_is_a_request_id(clients: list[HttpClient]) -> None:
    body = {"type": "test.echo", "payload": 1}
    first = clients[0].post("/tasks", body, Idempotency_Key="http-key-1")
    again = clients[1].post("/tasks", {**body, "requestId": "http-key-1"})
    assert first.json["task"]["id"] == again.json["task"]["id"]
    assert again.json["duplicate"] is True
    assert again.status == 202
    other = clients[0].post("/tasks", {**body, "payload": 2}, Idempotency_Key="http-key-1")
    assert (other.status, other.reason) == (409, "REQUEST_ID_REUSED")
    both = clients[0].post("/tasks", {**body, "requestId": "this"}, Idempotency_Key="that")
    assert both.status == 400
    assert "request_id" in both.fields


def test_a_cancel_with_a_reason_and_one_without_a_body(clients: list[HttpClient]) -> None:
    for body, reason in (({"reason": "enough"}, "enough"), (None, None)):
        submitted = clients[0].post("/tasks", {"type": "test.hold", "queue": "nobody"})
        task_id = submitted.json["task"]["id"]
        cancelled = clients[1].post(f"/tasks/{task_id}/cancel", body)
        assert cancelled.status == 200
        assert cancelled.json["task"]["status"] == "TASK_STATUS_CANCELLED"
        assert cancelled.json["task"].get("cancelReason") == reason
        assert clients[0].post(f"/tasks/{task_id}/cancel").status == 200


def test_what_has_ended_cannot_be_cancelled(clients: list[HttpClient]) -> None:
    task_id = clients[0].post("/tasks", {"type": "test.echo"}).json["task"]["id"]
    _finished(clients[0], task_id)
    refused = clients[0].post(f"/tasks/{task_id}/cancel")
    assert (refused.status, refused.reason) == (400, "TASK_NOT_CANCELLABLE")


def test_a_task_that_is_not_there_is_404(clients: list[HttpClient]) -> None:
    for reply in (
        clients[0].get(f"/tasks/{UNKNOWN}"),
        clients[0].post(f"/tasks/{UNKNOWN}/cancel"),
        clients[0].get(f"/tasks/{UNKNOWN}/stream"),
    ):
        assert (reply.status, reply.reason) == (404, "TASK_NOT_FOUND")


def test_probes_answer_200(clients: list[HttpClient]) -> None:
    assert clients[0].get("/livez").json == {"status": "alive"}
    assert clients[0].get("/readyz").json == {"status": "ready", "broker": "connected"}


def test_what_failed_is_tried_again_as_a_new_task(clients: list[HttpClient]) -> None:
    failed = clients[0].post("/tasks", {"type": "test.fail"}).json["task"]["id"]
    _finished(clients[0], failed)
    again = clients[1].post(f"/tasks/{failed}/retry")
    assert again.status == 202
    task = again.json["task"]
    assert task["retryOf"] == failed
    assert again.headers["location"] == f"/tasks/{task['id']}"
    refused = clients[0].post(f"/tasks/{task['id']}/retry", {"taskId": failed})
    assert refused.status == 400
    assert "task_id" in refused.fields


def test_a_batch_gives_each_item_its_own_answer(clients: list[HttpClient]) -> None:
    requests = [{"type": "test.echo", "queue": "nobody"}, {"type": ""}, {"type": "test.echo", "queue": "nobody"}]
    reply = clients[0].post("/tasks/batch", {"requests": requests})
    assert reply.status == 200
    first, refused, third = reply.json["results"]
    assert refused["error"]["code"] == 3
    assert refused["error"]["details"][0]["reason"] == "INVALID_REQUEST"
    ids = [first["task"]["id"], third["task"]["id"]]
    cancelled = clients[1].post("/tasks/batch/cancel", {"taskIds": ids, "reason": "all of them"})
    assert [result["task"]["cancelReason"] for result in cancelled.json["results"]] == ["all of them"] * 2
    found = clients[1].post("/tasks/batch/get", {"taskIds": [*ids, UNKNOWN]})
    assert [result.get("task", {}).get("id") for result in found.json["results"]] == [*ids, None]
    assert found.json["results"][2]["error"]["code"] == 5


def test_operators_see_queues_workers_and_webhook_deliveries(clients: list[HttpClient]) -> None:
    eventually(lambda: len(clients[0].get("/workers").json["workers"]) >= 2, within=20, what="both workers to report")
    assert any(queue["name"] == "default" for queue in clients[0].get("/queues").json["queues"])
    query = (
        "url=https://nobody.example&state=WEBHOOK_DELIVERY_STATE_FAILED&state=WEBHOOK_DELIVERY_STATE_PENDING&pageSize=5"
    )
    assert clients[0].get(f"/webhooks/deliveries?{query}").json == {}
    absent = clients[0].post("/webhooks/deliveries/redeliver", {"deliveryId": f"{UNKNOWN}-1-0"})
    assert (absent.status, absent.reason) == (404, "DELIVERY_NOT_FOUND")
    both = clients[0].post("/webhooks/deliveries/redeliver", {"deliveryId": "x", "failed": {"url": "https://x"}})
    assert both.status == 400
