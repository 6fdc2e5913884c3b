"""A gateway that stops lets its streams go on elsewhere, and finishes what it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.http_client import HttpClient

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults


def test_streams_of_a_gateway_that_is_told_to_stop_end_cleanly_and_go_on_at_another(own_stack: Stack) -> None:
    own_stack.start(gateways=2, workers=1)
    first, second = own_stack.gateways
    leaving, staying = HttpClient(first.http_address), HttpClient(second.http_address)
    gate = own_stack.gate()
    task_id = leaving.post("/tasks", {"type": "test.hold", "payload": {"gate": str(gate)}}).json["task"]["id"]
    with leaving.stream(f"/tasks/{task_id}/stream?afterSequence=0") as stream:
        events = iter(stream)
        seen = [next(events) for _ in range(3)]
        first.terminate()
        rest = list(events)
    assert [event.name for event in rest] == ["interrupted"]
    assert rest[0].data["code"] == 14
    assert rest[0].data["details"][0]["reason"] == "SHUTTING_DOWN"
    assert first.wait(within=15) == 0
    gate.open()
    with staying.stream(f"/tasks/{task_id}/stream", Last_Event_ID=seen[-1].id) as stream:
        after = list(stream)
    assert [event.id for event in seen + after[:-1]] == [str(n) for n in range(1, len(seen) + len(after))]
    assert after[-2].data["type"] == "TYPE_SUCCEEDED"


def test_a_gateway_that_stops_takes_no_new_connections_before_its_streams_end(own_stack: Stack) -> None:
    # A browser that comes back must find the door shut, which it tries again, and no error, which it does not.
    own_stack.start(gateways=1, workers=0)
    gateway = own_stack.gateways[0]
    client = HttpClient(gateway.http_address)
    task_id = client.post("/tasks", {"type": "test.echo", "queue": "nobody"}).json["task"]["id"]
    with client.stream(f"/tasks/{task_id}/stream") as stream:
        events = iter(stream)
        next(events)
        gateway.terminate()
        assert [event.name for event in events] == ["interrupted"]
        with pytest.raises(OSError, match="refused"):
            client.get("/livez")
    assert gateway.wait(within=15) == 0
