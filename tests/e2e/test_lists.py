"""Tasks found without their ids, queues and workers: the same over gRPC and over HTTP."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.deadlines import eventually
from tests.http_client import HttpClient

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.e2e


def submit(http: HttpClient, **fields: object) -> str:
    reply = http.post("/tasks", {"type": "test.echo", **fields})
    assert reply.status == 202, reply
    return str(reply.json["task"]["id"])


def ids(page: dict[str, Any]) -> list[str]:
    return [task["id"] for task in page.get("tasks", [])]


@pytest.fixture
def http(standing_stack: Stack) -> HttpClient:
    return HttpClient(standing_stack.gateways[0].http_address)


@pytest.fixture
def other_http(standing_stack: Stack) -> HttpClient:
    return HttpClient(standing_stack.gateways[1].http_address)


def test_a_task_is_listed_as_soon_as_its_submit_is_answered_newest_first(
    http: HttpClient, other_http: HttpClient
) -> None:
    # A queue of its own: a page that looks for labels among more tasks than it may read has another behind it.
    run = secrets.token_hex(4)
    submitted = [submit(http, payload=number, queue=f"q-{run}", labels={"run": run}) for number in range(5)]
    page = other_http.get(f"/tasks?queue=q-{run}&label=run={run}").json
    assert ids(page) == submitted[::-1]
    assert "nextPageToken" not in page
    assert all("payload" not in task and "result" not in task for task in page["tasks"])


def test_pages_follow_each_other_over_two_gateways_though_new_tasks_arrive(
    http: HttpClient, other_http: HttpClient
) -> None:
    queue = f"q-{secrets.token_hex(4)}"
    submitted = [submit(http, queue=queue) for _ in range(7)]
    found: list[str] = []
    token = ""
    for client in (http, other_http, http, other_http):
        page = client.get(f"/tasks?queue={queue}&pageSize=2&pageToken={token}").json
        found += ids(page)
        token = page.get("nextPageToken", "")
        submit(http, queue=queue)
    assert found == submitted[::-1]
    assert token == ""


def test_a_token_is_refused_with_another_filter(http: HttpClient) -> None:
    queue = f"q-{secrets.token_hex(4)}"
    for _ in range(2):
        submit(http, queue=queue)
    token = http.get(f"/tasks?queue={queue}&pageSize=1").json["nextPageToken"]
    refused = http.get(f"/tasks?pageSize=1&pageToken={token}")
    assert (refused.status, refused.reason, set(refused.fields)) == (400, "INVALID_REQUEST", {"page_token"})


def test_a_queue_that_no_worker_serves_is_shown_with_what_waits_in_it(http: HttpClient) -> None:
    queue = f"q-{secrets.token_hex(4)}"
    submit(http, queue=queue, priority="TASK_PRIORITY_HIGH")
    submit(http, queue=queue)
    submit(http, queue=queue, scheduleTime=(datetime.now(UTC) + timedelta(hours=1)).isoformat())

    def standing() -> Any:
        return next((one for one in http.get("/queues").json["queues"] if one["name"] == queue), None)

    found = eventually(standing, within=5, what="the queue to be listed")
    assert found["waiting"] == {"high": "1", "normal": "1"}
    assert found["delayed"] == "1"
    assert "consumers" not in found
