"""The one exception of the client, and how it is read from a failed call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field of a request."""

    field: str
    """Its path in the request message, like `labels` or `webhooks[0].url`."""
    description: str


class TaskcastError(Exception):
    """A call that did not succeed. `str(error)` is one sentence for people."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_delay: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        """The gRPC status."""
        self.message = message
        """One sentence for people."""
        self.reason = reason
        """One word for programs, like TASK_NOT_FOUND; empty if it was not a gateway that answered."""
        self.metadata: Mapping[str, str] = dict(metadata or {})
        """What else the gateway says, as documented beside the reason."""
        self.violations = tuple(violations)
        """The fields that are wrong, where the request itself was."""
        self.retry_delay = retry_delay
        """Seconds after which the gateway asks to try again; None if it says nothing of that."""

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code is grpc.StatusCode.UNAVAILABLE or self.retry_delay is not None


def from_rpc(error: grpc.aio.AioRpcError, address: str) -> TaskcastError:
    """What a failed call to the gateway at `address` says, with the `google.rpc` details it carries."""
    status = _rich_status(error)
    if status is None or not status.details:
        return TaskcastError(error.code(), _of_transport(error.code(), error.details() or "", address))
    return _from_details(error.code(), status, address)


def from_status(status: status_pb2.Status, address: str) -> TaskcastError:
    """What the gateway at `address` says of one item of a batch."""
    return _from_details(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), status, address)


def _from_details(code: grpc.StatusCode, status: status_pb2.Status, address: str) -> TaskcastError:
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    retry_delay: float | None = None
    for detail in status.details:
        if detail.Unpack(retry):
            retry_delay = max(retry.retry_delay.ToTimedelta().total_seconds(), 0.0)
        elif not detail.Unpack(info):
            detail.Unpack(bad_request)
    return TaskcastError(
        code,
        status.message or f"The gateway at {address} refuses the call ({code.name}).",
        reason=info.reason,
        metadata=info.metadata,
        violations=[FieldViolation(each.field, each.description) for each in bad_request.field_violations],
        retry_delay=retry_delay,
    )


def _rich_status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        # AioRpcError has the three methods that are called; the annotation knows of synchronous calls only.
        return cast("status_pb2.Status | None", rpc_status.from_call(cast("grpc.Call", error)))
    except (DecodeError, ValueError):
        # A proxy may rewrite the code or the message and pass the details on: they tell of another error.
        return None


def _of_transport(code: grpc.StatusCode, details: str, address: str) -> str:
    """A sentence for an error that the gRPC library or something on the way made up."""
    # Such as "failed to connect to all addresses; last error: UNKNOWN: ...: Connection refused (111)".
    cause = details.rsplit(": ", 1)[-1].strip(" .]") or code.name
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return f"No gateway answers at {address}: {cause}."
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"The gateway at {address} did not answer in time."
        case _:
            return f"The call to {address} failed with {code.name}: {cause}."
