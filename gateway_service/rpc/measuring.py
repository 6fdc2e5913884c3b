"""Counts and times every RPC, under the names that dashboards for gRPC know."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any, cast

import grpc

from shared.metrics import GRPC_HANDLED, GRPC_SECONDS, GRPC_STARTED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Context = grpc.aio.ServicerContext[Any, Any]
    Behaviour = Callable[[Any, Context], Awaitable[Any]]

CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class MeasuringInterceptor(grpc.aio.ServerInterceptor):
    """Around all other interceptors, so that it sees what the client sees."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap the method's handler. Reflection, which streams both ways, goes unmeasured."""
        # The stubs describe handlers of the synchronous server.
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return cast("grpc.RpcMethodHandler[Any, Any]", None)  # gRPC answers for a method that does not exist.
        method = handler_call_details.method
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                _measured(handler.unary_unary, "unary", method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream is not None and inspect.iscoroutinefunction(handler.unary_stream):
            return grpc.unary_stream_rpc_method_handler(
                _measured(handler.unary_stream, "server_stream", method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return cast("grpc.RpcMethodHandler[Any, Any]", handler)


def _measured(behaviour: Behaviour, kind: str, path: str) -> Behaviour:
    service, _, method = path.lstrip("/").partition("/")
    started = GRPC_STARTED.labels(kind, service, method)
    seconds = GRPC_SECONDS.labels(kind, service, method)

    async def call(request: Any, context: Context) -> Any:
        started.inc()
        began = time.monotonic()
        code = "UNKNOWN"
        try:
            answer = await behaviour(request, context)
            code = "OK"
        except grpc.aio.AbortError:
            code = _code_of(context)
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        else:
            return answer
        finally:
            seconds.observe(time.monotonic() - began)
            GRPC_HANDLED.labels(kind, service, method, code).inc()

    return call


def _code_of(context: Context) -> str:
    code: Any = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else CODES.get(code, "UNKNOWN")
