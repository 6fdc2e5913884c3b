"""The one table of errors: which gRPC code, which reason and which details each fault is answered with."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import structlog
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway_service import faults
from gateway_service.http import faults as http_faults
from shared import ports

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

DOMAIN = "taskcast"

MOST_IDS_NAMED = 100
"""Details travel as trailing metadata, of which gRPC's clients take 8 KiB unless told otherwise."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """How one kind of fault is answered. `retry_after`: seconds, where trying again helps.

    `http`: the HTTP status, where it is not the one that goes with the code.
    """

    code: grpc.StatusCode
    reason: str
    retry_after: float | None = None
    message: str | None = None
    http: int | None = None


_C = grpc.StatusCode

TABLE: dict[type[Exception], Answer] = {
    faults.InvalidRequestError: Answer(_C.INVALID_ARGUMENT, "INVALID_REQUEST"),
    faults.TaskNotFoundError: Answer(_C.NOT_FOUND, "TASK_NOT_FOUND"),
    faults.TaskExpiredError: Answer(_C.NOT_FOUND, "TASK_EXPIRED"),
    faults.TasksNotFoundError: Answer(_C.NOT_FOUND, "TASK_NOT_FOUND"),
    faults.TaskNotCancellableError: Answer(_C.FAILED_PRECONDITION, "TASK_NOT_CANCELLABLE"),
    faults.TaskNotRetryableError: Answer(_C.FAILED_PRECONDITION, "TASK_NOT_RETRYABLE"),
    faults.RequestIdReusedError: Answer(_C.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
    faults.DeliveryNotFoundError: Answer(_C.NOT_FOUND, "DELIVERY_NOT_FOUND"),
    faults.WebhooksUnsignedError: Answer(_C.FAILED_PRECONDITION, "WEBHOOKS_UNSIGNED"),
    faults.SequenceAheadError: Answer(_C.OUT_OF_RANGE, "SEQUENCE_AHEAD"),
    faults.SequenceCompactedError: Answer(_C.OUT_OF_RANGE, "SEQUENCE_COMPACTED"),
    faults.WatchBehindError: Answer(_C.ABORTED, "WATCH_BEHIND", retry_after=0.2),
    faults.AnswerFullError: Answer(_C.RESOURCE_EXHAUSTED, "ANSWER_FULL"),
    faults.TooManyWatchesError: Answer(_C.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHES", retry_after=5),
    faults.TooManyCallsError: Answer(_C.RESOURCE_EXHAUSTED, "RATE_LIMITED", retry_after=0.5),
    faults.BacklogFullError: Answer(_C.UNAVAILABLE, "BROKER_UNAVAILABLE", retry_after=5),
    faults.ShuttingDownError: Answer(_C.UNAVAILABLE, "SHUTTING_DOWN", retry_after=0.2),
    # The messages of these name servers, so the client gets a sentence of its own.
    ports.StoreUnavailableError: Answer(
        _C.UNAVAILABLE, "STORE_UNAVAILABLE", retry_after=1, message="The task record cannot be reached; try again."
    ),
    ports.StoreFullError: Answer(
        _C.RESOURCE_EXHAUSTED,
        "STORE_FULL",
        retry_after=30,
        message="The task record is full; try again when tasks have expired.",
    ),
    ports.BrokerUnavailableError: Answer(
        _C.UNAVAILABLE, "BROKER_UNAVAILABLE", retry_after=1, message="The broker cannot be reached; try again."
    ),
    http_faults.MalformedRequestError: Answer(_C.INVALID_ARGUMENT, "MALFORMED_REQUEST"),
    http_faults.HeadersTooLargeError: Answer(_C.INVALID_ARGUMENT, "HEADERS_TOO_LARGE", http=431),
    http_faults.RequestTooSlowError: Answer(_C.DEADLINE_EXCEEDED, "REQUEST_TOO_SLOW", http=408),
    http_faults.RequestTooLargeError: Answer(_C.INVALID_ARGUMENT, "REQUEST_TOO_LARGE", http=413),
    http_faults.UnsupportedMediaTypeError: Answer(_C.INVALID_ARGUMENT, "UNSUPPORTED_MEDIA_TYPE", http=415),
    http_faults.ForeignOriginError: Answer(_C.PERMISSION_DENIED, "FOREIGN_ORIGIN"),
    http_faults.RouteNotFoundError: Answer(_C.NOT_FOUND, "ROUTE_NOT_FOUND"),
    http_faults.MethodNotAllowedError: Answer(_C.UNIMPLEMENTED, "METHOD_NOT_ALLOWED", http=405),
    http_faults.NotReadyError: Answer(_C.UNAVAILABLE, "NOT_READY", retry_after=1),
}


def to_status(error: Exception, method: str) -> status_pb2.Status:
    """The `google.rpc.Status` of any exception. What is not in the table is logged and answered as INTERNAL."""
    answer = TABLE.get(type(error))
    if answer is None:
        return _internal(error, method)
    info = error_details_pb2.ErrorInfo(domain=DOMAIN, reason=answer.reason)
    details: list[Message] = [info]
    if answer.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(answer.retry_after * 1_000))
        details.append(retry)
    if isinstance(error, faults.InvalidRequestError):
        details.append(_bad_request((v.field, v.description) for v in error.violations))
    elif isinstance(error, faults.SequenceAheadError):
        info.metadata["last_sequence"] = str(error.last)
        details.append(_bad_request([("after_sequence", f"must be at most {error.last}")]))
    elif isinstance(error, faults.SequenceCompactedError):
        info.metadata["first_sequence"] = str(error.first)
        info.metadata["last_sequence"] = str(error.last)
    elif isinstance(error, faults.TasksNotFoundError):
        info.metadata["task_ids"] = ",".join(error.task_ids[:MOST_IDS_NAMED])
    if answer.retry_after is not None:
        log.warning("rpc.unavailable", method=method, reason=answer.reason, error=str(error))
    return _status(answer.code, answer.message or str(error), details)


HTTP_STATUS = {
    _C.INVALID_ARGUMENT: 400,
    _C.FAILED_PRECONDITION: 400,
    _C.OUT_OF_RANGE: 400,
    _C.UNAUTHENTICATED: 401,
    _C.PERMISSION_DENIED: 403,
    _C.NOT_FOUND: 404,
    _C.ALREADY_EXISTS: 409,
    _C.ABORTED: 409,
    _C.RESOURCE_EXHAUSTED: 429,
    _C.CANCELLED: 499,
    _C.UNIMPLEMENTED: 501,
    _C.UNAVAILABLE: 503,
    _C.DEADLINE_EXCEEDED: 504,
}
"""The HTTP status that goes with a code, as `google/rpc/code.proto` says; 500 for all others."""


def http_status(error: Exception) -> int:
    """The HTTP status that any exception is answered with."""
    answer = TABLE.get(type(error))
    if answer is None:
        return 500
    return answer.http or HTTP_STATUS.get(answer.code, 500)


def _internal(error: Exception, method: str) -> status_pb2.Status:
    error_id = uuid.uuid4().hex
    log.error("rpc.failed", method=method, error_id=error_id, exc_info=error)
    info = error_details_pb2.ErrorInfo(domain=DOMAIN, reason="INTERNAL", metadata={"error_id": error_id})
    return _status(_C.INTERNAL, f"Something went wrong here; the log has it as {error_id}.", [info])


def _bad_request(violations: Iterable[tuple[str, str]]) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
            for field, description in violations
        ]
    )


def _status(code: grpc.StatusCode, message: str, details: list[Message]) -> status_pb2.Status:
    number: int = code.value[0]
    status = status_pb2.Status(code=code_pb2.Code.ValueType(number), message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status
