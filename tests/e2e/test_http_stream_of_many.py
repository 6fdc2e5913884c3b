"""Streams of many tasks over HTTP: all that match a filter, or those that are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.http_client import HttpClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.http_client import Event, EventReader
    from tests.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(name="client")
def _client(standing_stack: Stack) -> HttpClient:
    return HttpClient(standing_stack.gateways[0].http_address)


def _submit(client: HttpClient, **fields: object) -> str:
    reply = client.post("/tasks", {"type": "test.echo", **fields})
    assert reply.status == 202, reply
    return str(reply.json["task"]["id"])


def _until(stream: EventReader, task_id: str) -> Iterator[Event]:
    """The events up to the terminal one of a task."""
    for event in stream:
        yield event
        if event.data["taskId"] == task_id and event.data["type"] == "TYPE_SUCCEEDED":
            return


def test_a_filter_gives_every_event_of_what_matches_from_now_on(client: HttpClient) -> None:
    with client.stream("/stream?label=who=http-many&type=test.echo") as stream:
        assert stream.status == 200
        other = _submit(client, labels={"who": "somebody-else"})
        task_id = _submit(client, labels={"who": "http-many"})
        events = list(_until(stream, task_id))
    assert {event.data["taskId"] for event in events} == {task_id} != {other}
    assert [event.id for event in events] == [f"{task_id}:{n}" for n in range(1, len(events) + 1)]
    assert {event.name for event in events} == {"event"}
    assert stream.comments[0] == "heartbeat"


def test_named_tasks_give_a_snapshot_each_and_the_stream_ends_with_the_last(client: HttpClient) -> None:
    ids = [_submit(client, payload={"n": n}) for n in range(3)]
    query = "&".join(f"taskId={task_id}" for task_id in ids)
    with client.stream(f"/stream?{query}") as stream:
        *told, end = list(stream)
    snapshots = [event for event in told if event.name == "snapshot"]
    assert {event.data["id"] for event in snapshots} == set(ids)
    assert not any("payload" in event.data for event in snapshots)
    assert end.name == "end"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=WAITING", "filter.statuses[0]"),
        ("label=no-value", "label"),
        ("type=a&type=b", "type"),
        ("createTimeAfter=yesterday", "filter.create_time_after"),
        ("colour=red", "colour"),
        ("heartbeatInterval=1", "heartbeat_interval"),
        ("taskId=x", "task_ids[0]"),
    ],
)
def test_a_query_that_cannot_be_read_is_400_and_named(client: HttpClient, query: str, field: str) -> None:
    reply = client.get(f"/stream?{query}")
    assert (reply.status, reply.reason) == (400, "INVALID_REQUEST")
    assert field in reply.fields


def test_both_spellings_of_a_name_are_read(client: HttpClient) -> None:
    for query in ("create_time_after=2026-01-01T00:00:00Z", "createTimeAfter=2026-01-01T00:00:00Z"):
        with client.stream(f"/stream?{query}&status=TASK_STATUS_SUCCESS&status=TASK_STATUS_FAILED") as stream:
            assert stream.status == 200
