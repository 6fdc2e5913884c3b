"""`make bench`: submit, run and watch, beside a bare grpc.aio echo in the same run.

Everything runs on this machine at once: servers, gateway, worker and the clients that make the load. So read the
ratios and the processor time for each operation; the rates are those of a machine that does all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import redis
from google.protobuf import struct_pb2

from benchmarks.http_edge import measure_http
from benchmarks.lists import measure_lists
from benchmarks.load import Clients, Measured, measuring, processor_seconds, submit, watch
from benchmarks.watches import measure_watches
from benchmarks.webhooks import measure_webhooks
from taskcast.v1 import task_service_pb2 as pb
from tests.deadlines import eventually
from tests.servers import PrivateRabbitMQ, PrivateValkey, free_port
from tests.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskcast.v1 import task_service_pb2_grpc

CLIENTS = 32
ROUNDS = 3
BATCH = 1_000
BATCHES = 3
BATCH_ROUNDS = 4
SETTLED_SECONDS = 1.6
"""A second after the confirmation of a dispatch it is noted: that is part of what a submit costs."""
IDLE_SECONDS = 10.0
HANDLERS = f"benchmarks.handlers,{Path(__file__).with_name('handlers.toml')}"
PLACES = {"bench.noop": 1, "bench.thread": 1, "bench.process": 2, "bench.command": 10}
"""Where a handler may run, by the type of the benchmark's; tasks are fewer by so much, since some places are dear."""

NOOP = pb.SubmitTaskRequest(type="bench.noop", payload=struct_pb2.Value(string_value="x" * 100))


def main() -> None:
    """Run all benchmarks and print a table, or with --json one object."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--tasks", type=int, default=2_000, help="tasks, or calls, a round (default 2000)")
    parser.add_argument("--watches", action="store_true", help="only what live messages cost, by kind of watch")
    parser.add_argument("--http", action="store_true", help="only what HTTP costs beside gRPC")
    parser.add_argument("--lists", action="store_true", help="only what listings and their indexes cost")
    parser.add_argument("--webhooks", action="store_true", help="only how many webhooks a process sends")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    with servers() as (redis_url, rabbitmq_url, folder):
        stack = Stack(
            folder / "stack",
            redis_url=redis_url,
            rabbitmq_url=rabbitmq_url,
            settings={"TASKCAST_LEASE_SECONDS": "10", "TASKCAST_LOG_LEVEL": "INFO"},
        )
        with stack:
            stack.start(gateways=1, workers=0)
            if arguments.watches:
                measuring_ = measure_watches(stack)
            elif arguments.http:
                measuring_ = measure_http(stack, arguments.tasks)
            elif arguments.lists:
                measuring_ = measure_lists(stack)
            elif arguments.webhooks:
                measuring_ = measure_webhooks(stack)
            else:
                measuring_ = measure(stack, arguments.tasks)
            figures = asyncio.run(measuring_)
    print(json.dumps(figures) if arguments.json else table(figures))


@contextmanager
def servers() -> Iterator[tuple[str, str, Path]]:
    """A private Redis and RabbitMQ, or those that REDIS_URL and RABBITMQ_URL name, and a scratch folder."""
    with tempfile.TemporaryDirectory(prefix="taskcast-bench-") as name:
        folder = Path(name)
        given = os.environ.get("REDIS_URL"), os.environ.get("RABBITMQ_URL")
        with PrivateValkey(folder / "valkey") as valkey, PrivateRabbitMQ(folder / "rabbitmq") as rabbitmq:
            if not given[0]:
                valkey.start()
            if not given[1]:
                rabbitmq.start()
            yield given[0] or valkey.url, given[1] or rabbitmq.url, folder


async def measure(stack: Stack, tasks: int) -> dict[str, float]:
    """All figures, by name."""
    figures: dict[str, float] = {}
    gateway = stack.gateways[0].pid
    await asyncio.to_thread(_idle, figures, "gateway", gateway)

    echoes: list[Measured] = []
    submits: list[Measured] = []
    ids: list[str] = []
    # In turn, so that both meet the same weather on a shared machine.
    for _ in range(ROUNDS):
        echoes.append(await _echo(tasks))
        measured, new = await _submit(stack.address, gateway, tasks)
        submits.append(measured)
        ids += new
    _note(figures, "echo", echoes, "server")
    _note(figures, "submit", submits, "gateway")
    figures["submit cost / echo cost"] = figures["submit gateway us"] / figures["echo server us"]

    ids += await _batches(figures, stack.address, gateway)

    worker = stack.new_worker(WORKER_HANDLERS=HANDLERS)
    await asyncio.to_thread(worker.start)
    with measuring({"worker": worker.pid, "gateway": gateway}) as run:
        run.count = len(ids)
        await asyncio.to_thread(eventually, lambda: _finished(stack), within=300, what="the backlog to be run")
    figures["run /s"] = run.rate
    figures["run worker us"] = run.micros("worker")
    await asyncio.to_thread(_idle, figures, "worker", worker.pid)
    for type_, fewer in PLACES.items():
        await _run_in(figures, stack, worker.pid, type_, tasks // fewer)

    async with Clients(stack.address, 8) as clients:
        with measuring({"gateway": gateway, "worker": worker.pid}) as whole:
            await clients.repeat(min(tasks, 1_000), _submit_and_watch, whole)
    figures["submit to result, 8 clients /s"] = whole.rate
    figures["submit to result p50 ms"] = whole.percentile(50)
    figures["submit to result p99 ms"] = whole.percentile(99)

    finished = ids[: min(tasks, 1_000)]
    async with Clients(stack.address, CLIENTS) as clients:
        with measuring({"gateway": gateway}) as replay:
            left = iter(finished)
            counts = await clients.repeat(len(finished), lambda stub: watch(stub, next(left)), replay)
        replay.count = sum(counts)
    figures["watch messages /s"] = replay.rate
    figures["watch gateway us a message"] = replay.micros("gateway")
    return figures | await measure_watches(stack) | await measure_http(stack, tasks) | await measure_webhooks(stack)


async def _echo(calls: int) -> Measured:
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "benchmarks.echo", address]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert await server.stdout.readline() == b"ready\n"
        async with Clients(address, CLIENTS) as clients:
            await clients.repeat(100, lambda stub: stub.SubmitTask(NOOP), Measured())
            with measuring({"server": server.pid}) as measured:
                await clients.repeat(calls, lambda stub: stub.SubmitTask(NOOP), measured)
            return measured
    finally:
        server.terminate()
        await server.wait()


async def _submit(address: str, gateway: int, tasks: int) -> tuple[Measured, list[str]]:
    async with Clients(address, CLIENTS) as clients:
        with measuring({"gateway": gateway}) as measured:
            ids = await clients.repeat(tasks, lambda stub: submit(stub, NOOP), measured)
    return measured, ids


async def _batches(figures: dict[str, float], address: str, gateway: int) -> list[str]:
    """Batches beside as many single submits, both with all that follows from it until the gateway is idle again."""
    singles: list[Measured] = []
    batches: list[Measured] = []
    ids: list[str] = []
    request = pb.BatchSubmitTasksRequest(requests=[NOOP] * BATCH)
    for _ in range(BATCH_ROUNDS):
        async with Clients(address, CLIENTS) as clients:
            with measuring({"gateway": gateway}) as single:
                ids += await clients.repeat(BATCHES * BATCH, lambda stub: submit(stub, NOOP), single)
                await asyncio.sleep(SETTLED_SECONDS)
            with measuring({"gateway": gateway}) as batch:
                responses = [await clients.stubs[0].BatchSubmitTasks(request) for _ in range(BATCHES)]
                await asyncio.sleep(SETTLED_SECONDS)
        batch.count = BATCHES * BATCH
        ids += [result.task.id for response in responses for result in response.results]
        singles.append(single)
        batches.append(batch)
    figures["submit alone, until noted, gateway us"] = statistics.median(r.micros("gateway") for r in singles)
    figures["submit in a batch, until noted, gateway us"] = statistics.median(r.micros("gateway") for r in batches)
    figures["batch cost / single cost"] = statistics.median(
        batch.micros("gateway") / single.micros("gateway") for batch, single in zip(batches, singles, strict=True)
    )
    return ids


async def _run_in(figures: dict[str, float], stack: Stack, worker: int, type_: str, tasks: int) -> None:
    """Submit tasks of one type while the worker runs them, until all have ended."""
    request = pb.SubmitTaskRequest()
    request.CopyFrom(NOOP)
    request.type = type_
    async with Clients(stack.address, CLIENTS) as clients:
        # What is started once, a child process for instance, is not what is measured.
        await clients.repeat(CLIENTS, lambda stub: _submit_and_watch(stub, request), Measured())
        with measuring({"worker": worker}) as run:
            await clients.repeat(tasks, lambda stub: submit(stub, request), run)
            await asyncio.to_thread(eventually, lambda: _finished(stack), within=300, what=f"all {type_} to be run")
    figures[f"submit and run {type_} /s"] = run.rate
    figures[f"submit and run {type_} worker us"] = run.micros("worker")


async def _submit_and_watch(
    stub: task_service_pb2_grpc.TaskServiceAsyncStub, request: pb.SubmitTaskRequest = NOOP
) -> None:
    await watch(stub, await submit(stub, request))


def _finished(stack: Stack) -> bool:
    """Whether all tasks have ended: the record then holds no wake any more."""
    with redis.Redis.from_url(stack.redis_url) as client, client.pipeline(transaction=False) as pipeline:
        for partition in range(256):
            pipeline.zcard(f"{stack.namespace}:{{{partition:02x}}}:wakes")
        return not any(pipeline.execute())


def _idle(figures: dict[str, float], name: str, pid: int) -> None:
    began = processor_seconds(pid)
    time.sleep(IDLE_SECONDS)
    figures[f"idle {name} % of a core"] = (processor_seconds(pid) - began) / IDLE_SECONDS * 100


def _note(figures: dict[str, float], name: str, rounds: list[Measured], process: str) -> None:
    figures[f"{name} /s"] = statistics.median(r.rate for r in rounds)
    figures[f"{name} {process} us"] = statistics.median(r.micros(process) for r in rounds)
    figures[f"{name} p50 ms"] = statistics.median(r.percentile(50) for r in rounds)
    figures[f"{name} p99 ms"] = statistics.median(r.percentile(99) for r in rounds)


def table(figures: dict[str, float]) -> str:
    """The figures, a line each."""
    width = max(map(len, figures))
    return "\n".join(f"{name:<{width}}  {value:>10,.2f}" for name, value in figures.items())


if __name__ == "__main__":
    main()
