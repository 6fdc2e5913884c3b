"""The watches of the contract as HTTP serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import message_factory

from gateway_service.http.calls import SERVICES
from gateway_service.http.event_stream import EventStream
from gateway_service.http.json_message import put_json
from gateway_service.http.query import FILTER, Parameter, read_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.descriptor import Descriptor
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway_service.http.event_stream import Write

    Method = Callable[[Any, Any], Awaitable[None]]

LAST_EVENT_ID = "Last-Event-ID"


@dataclass(frozen=True, slots=True)
class Stream:
    """One watch as a route. What is in braces in `path` is a field of the request."""

    path: str
    rpc: str
    query: tuple[Parameter, ...]
    resumes: str = ""
    """The field that `Last-Event-ID` sets, where a stream can go on after an event."""

    @property
    def request(self) -> Descriptor:
        """The request's description."""
        return SERVICES["TaskService"].methods_by_name[self.rpc].input_type


HEARTBEAT = Parameter("heartbeatInterval", "heartbeat_interval")

STREAMS = (
    Stream(
        "/tasks/{task_id}/stream",
        "WatchTask",
        (Parameter("afterSequence", "after_sequence"), HEARTBEAT),
        resumes="after_sequence",
    ),
    Stream("/stream", "WatchTasks", (Parameter("taskId", "task_ids", repeated=True), *FILTER, HEARTBEAT)),
)
"""Every watch that is served here."""


class StreamEndpoint:
    """Answers the requests of one route by the method that serves its RPC."""

    def __init__(self, stream: Stream, method: Method) -> None:
        self._stream = stream
        self._method = method
        self._request_class = message_factory.GetMessageClass(stream.request)

    async def __call__(self, request: Request) -> Response:
        """Begin a stream. `Last-Event-ID`, which a browser sends when it comes back, wins over the query."""
        fields = {**read_query(request, self._stream.query), **request.path_params}
        if self._stream.resumes:
            if last := request.headers.get(LAST_EVENT_ID):
                fields[self._stream.resumes] = last
        elif "task_ids" not in fields:
            fields.setdefault("filter", {})  # An empty one, which all tasks match.
        message = put_json(fields, self._request_class())

        async def follow(write: Write) -> None:
            # To write is all that a watch asks of its context.
            await self._method(message, cast("Any", _Writer(write)))

        return EventStream(follow, of_many=not self._stream.resumes, where=f"GET {self._stream.path}")


@dataclass(frozen=True, slots=True)
class _Writer:
    write: Write
