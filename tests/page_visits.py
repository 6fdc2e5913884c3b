"""What tests of the page do around it: addresses, and tasks that somebody else submits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.http_client import HttpClient

if TYPE_CHECKING:
    from tests.stack import Stack


def the_page(stack: Stack, path: str = "") -> str:
    """Where the first gateway serves the page, or the part of it after the #."""
    return f"{stack.gateways[0].http}/{path}"


def submit(stack: Stack, type_: str, payload: object = None, **more: object) -> str:
    """Submit a task at the first gateway; its id."""
    reply = HttpClient(stack.gateways[0].http_address).post("/tasks", {"type": type_, "payload": payload, **more})
    assert reply.status == 202, reply
    return str(reply.json["task"]["id"])
