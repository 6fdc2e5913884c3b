"""The yardstick: a grpc.aio server that answers SubmitTask with nothing, and does nothing else."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import grpc
import uvloop

from taskcast.v1 import task_service_pb2 as pb

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]


async def serve(address: str) -> None:
    """Answer until cancelled."""

    async def submit(request: pb.SubmitTaskRequest, context: Context) -> pb.SubmitTaskResponse:
        del request, context
        return pb.SubmitTaskResponse()

    handler = grpc.unary_unary_rpc_method_handler(
        submit,
        request_deserializer=pb.SubmitTaskRequest.FromString,
        response_serializer=pb.SubmitTaskResponse.SerializeToString,
    )
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("taskcast.v1.TaskService", {"SubmitTask": handler}),)
    )
    server.add_insecure_port(address)
    await server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
