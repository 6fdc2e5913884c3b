"""Streams over HTTP: from any event to the last one, and resumed without a hole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.http_client import HttpClient

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(name="client")
def _client(standing_stack: Stack) -> HttpClient:
    return HttpClient(standing_stack.gateways[0].http_address)


def _submit(client: HttpClient, type_: str, payload: object = None, **fields: object) -> str:
    reply = client.post("/tasks", {"type": type_, "payload": payload, **fields})
    assert reply.status == 202, reply
    return str(reply.json["task"]["id"])


def test_the_history_comes_whole_with_sequences_as_ids_and_ends(client: HttpClient) -> None:
    task_id = _submit(client, "test.steps", {"steps": 3, "pause": 0.1})
    with client.stream(f"/tasks/{task_id}/stream?afterSequence=0") as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = list(stream)
    *told, end = events
    assert [event.id for event in told] == [str(number) for number in range(1, len(told) + 1)]
    assert {event.name for event in told} == {"event"}
    assert told[0].data["type"] == "TYPE_SUBMITTED"
    assert told[-1].data["type"] == "TYPE_SUCCEEDED"
    assert [event.data["sequence"] for event in told] == [event.id for event in told]
    assert (end.name, end.data) == ("end", {})
    assert stream.retry == 1_000


def test_without_a_place_the_stream_begins_with_a_snapshot(client: HttpClient) -> None:
    task_id = _submit(client, "test.steps", {"steps": 2, "pause": 0.1})
    with client.stream(f"/tasks/{task_id}/stream") as stream:
        first, *_, last, end = list(stream)
    assert first.name == "snapshot"
    assert first.data["id"] == task_id
    assert first.id == first.data["sequence"]
    assert last.data["status"] == "TASK_STATUS_SUCCESS"
    assert end.name == "end"


def test_last_event_id_wins_over_the_query_and_the_next_event_follows(client: HttpClient) -> None:
    task_id = _submit(client, "test.steps", {"steps": 3, "pause": 0.05})
    with client.stream(f"/tasks/{task_id}/stream?afterSequence=0") as stream:
        last = int(list(stream)[-2].id)
    for after in range(last):
        with client.stream(f"/tasks/{task_id}/stream?afterSequence=0", Last_Event_ID=str(after)) as stream:
            assert [event.id for event in stream][:-1] == [str(n) for n in range(after + 1, last + 1)]


def test_a_browser_that_comes_back_after_the_end_is_told_not_to(client: HttpClient) -> None:
    task_id = _submit(client, "test.echo")
    with client.stream(f"/tasks/{task_id}/stream") as stream:
        last = [event.id for event in stream if event.id][-1]
    reply = client.get(f"/tasks/{task_id}/stream", Last_Event_ID=last)
    assert (reply.status, reply.body) == (204, b"")


def test_a_stream_that_has_nothing_to_send_yet_opens_at_once_and_beats(client: HttpClient) -> None:
    task_id = _submit(client, "test.echo", queue="nobody")
    with client.stream(f"/tasks/{task_id}/stream?heartbeatInterval=1s", Last_Event_ID="1") as stream:
        assert stream.status == 200
        client.post(f"/tasks/{task_id}/cancel")
        assert [event.name for event in stream] == ["event", "end"]
        assert "heartbeat" in stream.comments


def test_a_place_that_is_not_there_is_refused(client: HttpClient) -> None:
    task_id = _submit(client, "test.echo", queue="nobody")
    ahead = client.get(f"/tasks/{task_id}/stream?afterSequence=99")
    assert (ahead.status, ahead.reason) == (400, "SEQUENCE_AHEAD")
    for bad in ("x", "-1", "1.5"):
        refused = client.get(f"/tasks/{task_id}/stream", Last_Event_ID=bad)
        assert refused.status == 400
        assert "after_sequence" in refused.fields
    for query in ("afterSequence=1&afterSequence=2", "after=1", "heartbeatInterval=1h", "heartbeatInterval=0.1s"):
        assert client.get(f"/tasks/{task_id}/stream?{query}").status == 400
    client.post(f"/tasks/{task_id}/cancel")
