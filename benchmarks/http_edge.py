"""What the same work costs the gateway over HTTP and over gRPC."""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING

import aiohttp
import grpc
from google.protobuf import struct_pb2

from benchmarks.load import Clients, Measured, measuring, submit
from benchmarks.watches import claimed, progressed, reporting
from taskcast.v1 import task_service_pb2 as pb
from taskcast.v1 import task_service_pb2_grpc as rpc

if TYPE_CHECKING:
    from tests.stack import Stack

CLIENTS = 32
ROUNDS = 3
REPORTS = 900
"""Short of the length at which a log is thinned."""
REPLAYS = 20

PAYLOAD = "x" * 100
REQUEST = pb.SubmitTaskRequest(type="bench.noop", queue="nobody", payload=struct_pb2.Value(string_value=PAYLOAD))
BODY = {"type": "bench.noop", "queue": "nobody", "payload": PAYLOAD}


async def measure_http(stack: Stack, tasks: int) -> dict[str, float]:
    """Submits, and messages of a watch that replays a long log, each over both."""
    gateway = stack.gateways[0].pid
    rounds: dict[str, list[Measured]] = {"SubmitTask": [], "POST /tasks": []}
    # In turn, so that both meet the same weather on a shared machine.
    for _ in range(ROUNDS):
        async with Clients(stack.address, CLIENTS) as clients:
            with measuring({"gateway": gateway}) as measured:
                await clients.repeat(tasks, lambda stub: submit(stub, REQUEST), measured)
        rounds["SubmitTask"].append(measured)
        rounds["POST /tasks"].append(await _posts(stack, gateway, tasks))
    figures = {
        f"{name}, gateway us": statistics.median(one.micros("gateway") for one in measured)
        for name, measured in rounds.items()
    }
    figures["POST /tasks cost / SubmitTask cost"] = (
        figures["POST /tasks, gateway us"] / figures["SubmitTask, gateway us"]
    )
    task_id = await _long_log(stack)
    with measuring({"gateway": gateway}) as over_grpc:
        over_grpc.count = sum([await _watch(stack, task_id) for _ in range(REPLAYS)])
    with measuring({"gateway": gateway}) as over_http:
        over_http.count = sum([await _stream(stack, task_id) for _ in range(REPLAYS)])
    figures["WatchTask replay, gateway us a message"] = over_grpc.micros("gateway")
    figures["SSE replay, gateway us a message"] = over_http.micros("gateway")
    return figures


async def _posts(stack: Stack, gateway: int, tasks: int) -> Measured:
    left = iter(range(tasks))
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(stack.gateways[0].http, connector=connector) as session:

        async def client() -> None:
            for _ in left:
                async with session.post("/tasks", json=BODY) as response:
                    assert response.status == 202
                    await response.read()

        with measuring({"gateway": gateway}) as measured:
            await asyncio.gather(*(client() for _ in range(CLIENTS)))
    measured.count = tasks
    return measured


async def _long_log(stack: Stack) -> str:
    """A task that has reported progress many times and still runs."""
    async with grpc.aio.insecure_channel(stack.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: rpc.TaskServiceAsyncStub = rpc.TaskServiceStub(channel)
        task_id = (await stub.SubmitTask(REQUEST)).task.id
    async with reporting(stack) as journal:
        task = await claimed(journal, task_id)
        for number in range(REPORTS):
            task = await progressed(journal, task, number)
    return task_id


async def _watch(stack: Stack, task_id: str) -> int:
    async with grpc.aio.insecure_channel(stack.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: rpc.TaskServiceAsyncStub = rpc.TaskServiceStub(channel)
        call = stub.WatchTask(pb.WatchTaskRequest(task_id=task_id, after_sequence=0))
        for _ in range(REPORTS):
            await call.read()
    return REPORTS


async def _stream(stack: Stack, task_id: str) -> int:
    seen = 0
    async with (
        aiohttp.ClientSession(stack.gateways[0].http) as session,
        session.get(f"/tasks/{task_id}/stream?afterSequence=0") as response,
    ):
        async for chunk in response.content.iter_any():
            seen += chunk.count(b"event: event")
            if seen >= REPORTS:
                break
    return REPORTS
