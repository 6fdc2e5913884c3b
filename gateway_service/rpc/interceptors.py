"""Around every call: a deadline, a bound on calls at once, and an answer to every error."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf.message import DecodeError
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # The only home of the error below.

from gateway_service.faults import InvalidRequestError, ShuttingDownError
from gateway_service.rpc.errors import to_status
from shared.domain.submission import Violation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway_service.call_bound import CallBound

    Context = grpc.aio.ServicerContext[Any, Any]
    Behaviour = Callable[[Any, Context], Awaitable[Any]]

ANSWER_SHARE = 0.9
"""Of the time that the client grants: the rest is for the answer's way back."""

CODES = {code.value[0]: code for code in grpc.StatusCode}


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """The outermost interceptor: whatever a call raises becomes a status with details, or ends in silence.

    Silence is for the client that has gone: its call was cancelled, or a write found nobody.
    """

    def __init__(self, bound: CallBound) -> None:
        """`bound` is that of unary calls; watches have one of their own."""
        self._bound = bound

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap the method's handler."""
        # The stubs describe handlers of the synchronous server.
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return cast("grpc.RpcMethodHandler[Any, Any]", None)  # gRPC answers for a method that does not exist.
        method = handler_call_details.method
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(_reading(handler.unary_unary, handler.request_deserializer), method),
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream is not None and inspect.iscoroutinefunction(handler.unary_stream):
            return grpc.unary_stream_rpc_method_handler(
                self._stream(_reading(handler.unary_stream, handler.request_deserializer), method),
                response_serializer=handler.response_serializer,
            )
        return cast("grpc.RpcMethodHandler[Any, Any]", handler)

    def _unary(self, behaviour: Behaviour, method: str) -> Behaviour:
        async def call(request: Any, context: Context) -> Any:
            granted: float | None = context.time_remaining()  # None where the client sets no deadline.
            async with self._bound.one(within=None if granted is None else granted * ANSWER_SHARE):
                return await behaviour(request, context)

        return _guarded(call, method)

    def _stream(self, behaviour: Behaviour, method: str) -> Behaviour:
        return _guarded(behaviour, method)


def _reading(behaviour: Behaviour, deserializer: Callable[[bytes], Any] | None) -> Behaviour:
    """Give `behaviour` the message that it takes.

    The server would read it before any interceptor, and answer what cannot be read with the parser's own words.
    """

    async def call(body: bytes, context: Context) -> Any:
        try:
            request = body if deserializer is None else deserializer(body)
        except DecodeError:
            unreadable = Violation("request", "is not a message of the method's type, or is nested too deep")
            raise InvalidRequestError([unreadable]) from None
        return await behaviour(request, context)

    return call


def _guarded(behaviour: Behaviour, method: str) -> Behaviour:
    async def call(request: Any, context: Context) -> Any:
        try:
            return await behaviour(request, context)
        except grpc.aio.AbortError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Something inside was cancelled, not the call. Left alone, the client would get no status at all.
            await _abort(context, ShuttingDownError(), method)
        except cygrpc.ExecuteBatchError as error:
            # The client went away while something was written to it.
            raise asyncio.CancelledError from error
        except Exception as error:  # noqa: BLE001  # This is the one place where errors become answers.
            await _abort(context, error, method)

    return call


async def _abort(context: Context, error: Exception, method: str) -> None:
    status = to_status(error, method)
    await context.abort(
        CODES[status.code],
        status.message,
        (("grpc-status-details-bin", status.SerializeToString()),),
    )
