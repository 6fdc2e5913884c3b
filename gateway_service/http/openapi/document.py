"""The OpenAPI 3.1 document of the HTTP interface."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool

from gateway_service.http.calls import CALLS, IDEMPOTENCY_KEY, VISIBLE
from gateway_service.http.openapi.comments import comment_of, first_sentence
from gateway_service.http.openapi.limits import request_limits
from gateway_service.http.openapi.schemas import Schemas
from gateway_service.http.streams import STREAMS
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from gateway_service.http.calls import Call
    from gateway_service.http.query import Parameter
    from gateway_service.http.streams import Stream
    from shared.domain.submission import Limits

    Node = dict[str, Any]

ABOUT = """\
The tasks of Taskcast over HTTP. Bodies are the proto3 JSON of the gRPC contract: names in camelCase (the contract's own
are read as well), enum values by name, 64-bit integers and durations as text; what has its default value is left out.

Every error is a `google.rpc.Status`: its `details` hold an `ErrorInfo` whose `reason` says in one word what is wrong,
for bad input a `BadRequest` that names each field as the contract does, and where trying again helps a `RetryInfo`,
which the header `Retry-After` repeats."""

STREAM_ABOUT = """\
Server-Sent Events. `event: snapshot` carries a Task and `event: event` a TaskEvent, each with an `id:` to resume after;
comments are heartbeats. After the last event comes `event: end`, and a browser that comes back then is answered with
204. `event: interrupted` carries a Status: the server broke off, and resuming helps."""

STATUS = descriptor_pool.Default().FindMessageTypeByName("google.rpc.Status")

_IN_BRACES = re.compile(r"{(\w+)}")


def build_document(limits: Limits) -> Node:
    """The whole document. Nothing in it depends on the host that serves it."""
    schemas = Schemas(request_limits(limits))
    paths: dict[str, Node] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.verb.lower()] = _operation(call, schemas)
    for stream in STREAMS:
        paths.setdefault(stream.path, {})["get"] = _stream(stream, schemas)
    paths["/livez"] = {"get": _probe("livez", "Tells that the process answers, whatever it can reach")}
    paths["/readyz"] = {"get": _probe("readyz", "Tells whether calls can succeed", schemas)}
    paths["/metrics"] = {"get": _metrics()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Taskcast", "version": version("taskcast"), "description": ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas.found},
    }


def _operation(call: Call, schemas: Schemas) -> Node:
    request = call.request
    in_path = frozenset(_IN_BRACES.findall(call.path))
    parameters = [_path_parameter(request.fields_by_name[name]) for name in sorted(in_path)]
    parameters += [_query_parameter(one, request, schemas) for one in call.query]
    if "request_id" in request.fields_by_name:
        parameters.append(_key_parameter(schemas.field(request.fields_by_name["request_id"])))
    operation: Node = {**_told(call.service, call.rpc), "parameters": parameters}
    if call.verb != "GET":
        body_of = schemas.message(request, without=in_path)
        body = body_of if in_path else schemas.reference(request)
        operation["requestBody"] = {
            "required": "required" in body_of,
            "content": {"application/json": {"schema": body}},
        }
    answer: Node = {
        "description": comment_of(call.method.output_type.full_name),
        "content": {"application/json": {"schema": schemas.reference(call.method.output_type)}},
    }
    if call.creates:
        answer["headers"] = {"Location": {"description": "The task's path.", "schema": {"type": "string"}}}
        answer["links"] = {
            other.rpc: {
                "operationId": _operation_id(other.rpc),
                "parameters": {"task_id": "$response.body#/task/id"},
                "description": f"The new task's id is what {other.rpc} takes.",
            }
            for other in CALLS
            if "{task_id}" in other.path
        }
    operation["responses"] = {str(call.status): answer, "default": _error(schemas)}
    return operation


def _stream(stream: Stream, schemas: Schemas) -> Node:
    request = stream.request
    parameters = [_path_parameter(request.fields_by_name[name]) for name in _IN_BRACES.findall(stream.path)]
    parameters += [_query_parameter(one, request, schemas) for one in stream.query]
    if stream.resumes:
        parameters.append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "Go on after this event. Sent by a browser that comes back; wins over afterSequence.",
                "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
            }
        )
    told = _told("TaskService", stream.rpc)
    return {
        **told,
        "description": f"{told['description']}\n\n{STREAM_ABOUT}",
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "The stream, up to the end.",
                "content": {"text/event-stream": {"schema": _event(schemas)}},
            },
            "204": {"description": "There is nothing to send, now or later."},
            "default": _error(schemas),
        },
    }


def _event(schemas: Schemas) -> Node:
    """The schema of one event, by the names that it has on the wire."""
    carried = [schemas.reference(kind) for kind in (task_pb2.Task.DESCRIPTOR, task_pb2.TaskEvent.DESCRIPTOR, STATUS)]
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"anyOf": carried}}
    return {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "id": {"type": "string", "description": "What to resume after."},
            "event": {"enum": ["snapshot", "event", "end", "interrupted"]},
            "data": {**data, "description": "A Task, a TaskEvent, an empty object at the end, or a Status."},
        },
    }


def _told(service: str, rpc: str) -> Node:
    comment = comment_of(f"taskcast.v1.{service}.{rpc}")
    return {
        "operationId": _operation_id(rpc),
        "tags": [service],
        "summary": first_sentence(comment),
        "description": comment,
    }


def _operation_id(rpc: str) -> str:
    return rpc[0].lower() + rpc[1:]


def _path_parameter(field: FieldDescriptor) -> Node:
    return {
        "name": field.name,
        "in": "path",
        "required": True,
        "description": comment_of(field.full_name),
        "schema": {"type": "string", "format": "uuid", "pattern": "^[0-9a-f-]{36}$"},
    }


def _query_parameter(parameter: Parameter, request: Descriptor, schemas: Schemas) -> Node:
    field = _field_at(parameter.field.split("."), request)
    schema = schemas.field(field)
    description = schema.pop("description")
    if parameter.is_map:
        schema = {"type": "array", "items": {"type": "string", "pattern": "^[^=]+=.*$"}}
        description += " Each is given as key=value."
    return {
        "name": parameter.name,
        "in": "query",
        "description": description,
        "schema": schema,
        **({"style": "form", "explode": True} if parameter.repeated else {}),
    }


def _field_at(path: Sequence[str], kind: Descriptor) -> FieldDescriptor:
    field = kind.fields_by_name[path[0]]
    if len(path) == 1:
        return field
    assert field.message_type is not None
    return _field_at(path[1:], field.message_type)


def _key_parameter(schema: Node) -> Node:
    description = schema.pop("description")
    return {
        "name": IDEMPOTENCY_KEY,
        "in": "header",
        "description": f"The requestId, where the body has none. {description}",
        "schema": {**schema, "pattern": f"^{VISIBLE.pattern}$"},
    }


def _error(schemas: Schemas) -> Node:
    return {
        "description": "Any error.",
        "headers": {
            "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "string"}}
        },
        "content": {"application/json": {"schema": schemas.reference(STATUS)}},
    }


def _probe(name: str, summary: str, schemas: Schemas | None = None) -> Node:
    status = {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"type": "string"}, "broker": {"type": "string"}},
    }
    responses: Node = {
        "200": {"description": "Yes.", "content": {"application/json": {"schema": status}}},
    }
    if schemas is not None:
        responses["503"] = {**_error(schemas), "description": "No; the message says why."}
    return {"operationId": name, "tags": ["Operation"], "summary": summary, "responses": responses}


def _metrics() -> Node:
    return {
        "operationId": "metrics",
        "tags": ["Operation"],
        "summary": "Shows numbers for Prometheus",
        "responses": {
            "200": {
                "description": "The text form, or OpenMetrics where the client accepts it.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    }
