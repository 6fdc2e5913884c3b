"""The watches of the contract as HTTP serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.http.event_stream import EventStream
from gateway_service.http.json_message import put_json
from gateway_service.http.query import Query
from gateway_service.rpc.requests import after_sequence, heartbeat_seconds
from gateway_service.rpc.task_servicer import TENANT
from taskcast.v1 import task_service_pb2 as pb

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway_service.watch.follow import FollowTask

LAST_EVENT_ID = "Last-Event-ID"


class TaskStream:
    """`GET /tasks/{task_id}/stream`: one task, until it has ended."""

    def __init__(self, follow: FollowTask) -> None:
        self._follow = follow

    async def __call__(self, request: Request) -> Response:
        """Begin a stream. `Last-Event-ID`, which a browser sends when it comes back, wins over `afterSequence`."""
        names = ("after_sequence", "heartbeat_interval")
        fields = Query(request, once=names).given(*names)
        if last := request.headers.get(LAST_EVENT_ID):
            fields["after_sequence"] = last
        watch = pb.WatchTaskRequest(task_id=request.path_params["task_id"])
        put_json(fields, watch)
        after, heartbeat = after_sequence(watch), heartbeat_seconds(watch)
        return EventStream(
            lambda send: self._follow(TENANT, watch.task_id, after=after, heartbeat=heartbeat, send=send),
            id_of=lambda _, sequence: str(sequence),
            where="GET /tasks/{task_id}/stream",
        )
