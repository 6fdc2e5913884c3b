"""The unary calls of the contract as HTTP serves them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import message_factory

from gateway_service.faults import InvalidRequestError
from gateway_service.http.answers import json_response
from gateway_service.http.json_message import put_json, to_json
from gateway_service.http.json_text import load_json
from gateway_service.http.large import beside_the_loop
from gateway_service.http.query import FILTER, Parameter, read_query
from shared.domain.submission import Violation
from taskcast.v1 import admin_service_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.descriptor import Descriptor, MethodDescriptor
    from google.protobuf.message import Message
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway_service.call_bound import CallBound
    from gateway_service.http.body import BodyReader

    Method = Callable[[Any, Any], Awaitable[Message]]


SERVICES = {
    **task_service_pb2.DESCRIPTOR.services_by_name,
    **admin_service_pb2.DESCRIPTOR.services_by_name,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One unary RPC as a route.

    What is in braces in `path` is a field of the request; the body, or the query of a GET, holds the others.
    """

    verb: str
    path: str
    service: str
    rpc: str
    status: int = 200
    creates: bool = False
    """Whether the answer's task is new: then its place is named in `Location`."""
    query: tuple[Parameter, ...] = ()

    @property
    def method(self) -> MethodDescriptor:
        """The RPC's description."""
        return SERVICES[self.service].methods_by_name[self.rpc]

    @property
    def request(self) -> Descriptor:
        """The request's description."""
        return self.method.input_type


IDEMPOTENCY_KEY = "Idempotency-Key"
VISIBLE = re.compile("[!-~]*")
"""What a header may hold for certain."""

DELIVERIES = (
    Parameter("taskId", "filter.task_id"),
    Parameter("url", "filter.url"),
    Parameter("state", "filter.states", repeated=True),
)
PAGE = (Parameter("pageSize", "page_size"), Parameter("pageToken", "page_token"))

CALLS = (
    Call("POST", "/tasks", "TaskService", "SubmitTask", status=202, creates=True),
    Call("POST", "/tasks/batch", "TaskService", "BatchSubmitTasks"),
    Call("POST", "/tasks/batch/get", "TaskService", "BatchGetTasks"),
    Call("POST", "/tasks/batch/cancel", "TaskService", "BatchCancelTasks"),
    Call("GET", "/tasks", "TaskService", "ListTasks", query=(*FILTER, *PAGE)),
    Call("GET", "/tasks/{task_id}", "TaskService", "GetTask"),
    Call("POST", "/tasks/{task_id}/cancel", "TaskService", "CancelTask"),
    Call("POST", "/tasks/{task_id}/retry", "TaskService", "RetryTask", status=202, creates=True),
    Call("GET", "/queues", "AdminService", "ListQueues"),
    Call("GET", "/workers", "AdminService", "ListWorkers"),
    Call("GET", "/webhooks/deliveries", "AdminService", "ListWebhookDeliveries", query=(*DELIVERIES, *PAGE)),
    Call("POST", "/webhooks/deliveries/redeliver", "AdminService", "RedeliverWebhook"),
)
"""Every unary RPC that is served here. Of two paths that match, the first is taken."""


class CallEndpoint:
    """Answers the requests of one route by the method that serves its RPC."""

    def __init__(self, call: Call, method: Method, bodies: BodyReader, bound: CallBound) -> None:
        self._call = call
        self._method = method
        self._bodies = bodies
        self._bound = bound
        self._request_class = message_factory.GetMessageClass(call.request)

    async def __call__(self, request: Request) -> Response:
        """Read the request, call, and write the answer."""
        query = read_query(request, self._call.query)
        body = b"" if self._call.verb == "GET" else await self._bodies.read(request)
        message = await beside_the_loop(len(body), lambda: self._read(load_json(body) if body else query, request))
        async with self._bound.one():
            # No unary method of ours looks at its context, which only gRPC has.
            answer = await self._method(message, cast("Any", None))
        headers = {"Location": f"/tasks/{cast('Any', answer).task.id}"} if self._call.creates else None
        content = await beside_the_loop(answer.ByteSize(), lambda: to_json(answer))
        return json_response(content, status=self._call.status, headers=headers)

    def _read(self, value: object, request: Request) -> Message:
        message = put_json(value, self._request_class())
        given = dict(request.path_params)
        if "request_id" in self._call.request.fields_by_name and (key := request.headers.get(IDEMPOTENCY_KEY)):
            if not VISIBLE.fullmatch(key):
                raise InvalidRequestError([Violation(IDEMPOTENCY_KEY, "must hold visible ASCII characters only")])
            given["request_id"] = key
        for field, text in given.items():
            if getattr(message, field, text) not in ("", text):
                raise InvalidRequestError(
                    [Violation(field, f"is {text[:80]!r} outside of the body, and another in it")]
                )
            setattr(message, field, text)
        return message
