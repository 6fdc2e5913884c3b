"""The OpenAPI document says what the contract says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from gateway_service.http.calls import CALLS, SERVICES
from gateway_service.http.openapi.comments import comment_of
from gateway_service.http.openapi.document import build_document
from gateway_service.http.openapi.page import render_page
from gateway_service.http.streams import STREAMS
from shared.domain.submission import Limits
from taskcast.v1 import task_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = build_document(Limits(type_length=77))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def test_every_call_and_stream_is_described() -> None:
    described = {(path, verb.upper()) for path, verbs in DOCUMENT["paths"].items() for verb in verbs}
    assert described >= {(call.path, call.verb) for call in CALLS}
    assert described >= {(stream.path, "GET") for stream in STREAMS}


def test_every_rpc_of_the_contract_has_a_path() -> None:
    served = {call.rpc for call in CALLS} | {stream.rpc for stream in STREAMS}
    assert served == {method.name for service in SERVICES.values() for method in service.methods}


def test_every_reference_leads_to_a_schema_and_every_schema_is_referred_to() -> None:
    assert {reference.removeprefix("#/components/schemas/") for reference in _references(DOCUMENT)} == set(SCHEMAS)


@pytest.mark.parametrize("kind", [task_pb2.Task, task_pb2.TaskProgress, task_service_pb2.SubmitTaskRequest])
def test_a_schema_has_the_fields_of_its_message_with_their_comments(kind: Any) -> None:
    schema = SCHEMAS[kind.DESCRIPTOR.name]
    assert list(schema["properties"]) == [field.json_name for field in kind.DESCRIPTOR.fields]
    for field in kind.DESCRIPTOR.fields:
        assert schema["properties"][field.json_name]["description"] == comment_of(field.full_name) != ""


def test_types_are_those_of_proto3_json() -> None:
    task = SCHEMAS["Task"]["properties"]
    assert task["sequence"]["type"] == "string"
    assert task["attempt"]["type"] == "integer"
    assert task["createTime"]["format"] == "date-time"
    assert task["status"]["$ref"] == "#/components/schemas/TaskStatus"
    assert task["labels"]["additionalProperties"] == {"type": "string"}
    assert task["attempts"]["items"]["$ref"] == "#/components/schemas/Attempt"
    assert "type" not in task["payload"]
    assert "TASK_STATUS_SUCCESS" in SCHEMAS["TaskStatus"]["enum"]


def test_requests_are_closed_and_have_the_limits_that_hold() -> None:
    request = SCHEMAS["SubmitTaskRequest"]
    assert request["additionalProperties"] is False
    assert request["required"] == ["type"]
    assert request["properties"]["type"]["maxLength"] == 77


def test_the_page_has_every_operation_and_message_and_needs_nothing_from_elsewhere() -> None:
    page = render_page(DOCUMENT)
    for verbs in DOCUMENT["paths"].values():
        for operation in verbs.values():
            assert f'id="{operation["operationId"]}"' in page
    for name in SCHEMAS:
        assert f'<section id="{name}">' in page
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', page)) == {"/docs.css", "/openapi.json"}
    assert "<script" not in page
    assert "WAITING -&gt; PROCESSING" in page


def test_every_link_within_the_page_leads_somewhere() -> None:
    page = render_page(DOCUMENT)
    targets = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= targets
