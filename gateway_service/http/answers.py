"""Answers: a message of the contract, or the `google.rpc.Status` of an error, as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from google.rpc import error_details_pb2
from starlette.responses import Response

from gateway_service.http.faults import HeadersTooLargeError, MethodNotAllowedError, RequestTooSlowError
from gateway_service.http.json_message import to_json
from gateway_service.rpc.errors import http_status, to_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.rpc import status_pb2

JSON = "application/json"


def json_response(content: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of JSON that is written already."""
    return Response(content, status, headers, media_type=JSON)


def error_response(error: Exception, where: str) -> Response:
    """Any exception as a Status with its details. `where` names the call in the log."""
    status = to_status(error, where)
    headers = {}
    if (seconds := _retry_seconds(status)) is not None:
        headers["Retry-After"] = str(seconds)
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, RequestTooSlowError | HeadersTooLargeError):
        headers["Connection"] = "close"  # Nobody reads the rest.
    return json_response(to_json(status), status=http_status(error), headers=headers)


def _retry_seconds(status: status_pb2.Status) -> int | None:
    """The time to wait in the whole seconds that the header takes, rounded up."""
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(retry):
            return math.ceil(retry.retry_delay.ToTimedelta().total_seconds())
    return None
