"""How many webhooks one process sends, and whether an endpoint that hangs delays the others.

The endpoints are in this process, and take their part of the machine.
"""

from __future__ import annotations

import asyncio
import statistics
from datetime import datetime
from typing import TYPE_CHECKING

from benchmarks.load import measuring
from taskcast.v1 import task_pb2
from tests.clients import calling
from tests.deadlines import eventually_async
from tests.endpoints import Endpoint, Endpoints, answering, hanging

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.clients import Caller
    from tests.services import Service
    from tests.stack import Stack

TASKS = 500
HOOKS = 8
CALM_TASKS = 200
PAUSE_SECONDS = 0.03
"""Between two submits where delays are measured: far from what a process bears, so that there is no queue anyway."""
WITHIN = 300.0


async def measure_webhooks(stack: Stack, *, tasks: int = TASKS, calm_tasks: int = CALM_TASKS) -> dict[str, float]:
    """All figures, by name."""
    dispatcher = stack.new_worker(WORKER_ROLE="webhooks")
    await asyncio.to_thread(dispatcher.start)
    async with calling(stack.address) as caller, Endpoints() as endpoints:
        figures = await _throughput(caller, endpoints, dispatcher, tasks)
        return figures | await _delays(caller, endpoints, calm_tasks)


async def _throughput(caller: Caller, endpoints: Endpoints, dispatcher: Service, tasks: int) -> dict[str, float]:
    """Send a backlog that was put there while the process slept."""
    targets = [await endpoints.start(answering(200)) for _ in range(HOOKS)]
    await _submit(caller, targets)
    await _until_told(targets, 1)
    dispatcher.pause()
    await asyncio.gather(*(_submit(caller, targets) for _ in range(tasks)))
    with measuring({"dispatcher": dispatcher.pid}) as measured:
        dispatcher.resume()
        await _until_told(targets, tasks + 1)
    measured.count = tasks * HOOKS
    return {"webhooks /s": measured.rate, "webhooks dispatcher us": measured.micros("dispatcher")}


async def _delays(caller: Caller, endpoints: Endpoints, tasks: int) -> dict[str, float]:
    """The median delay of endpoints that are well, first alone and then beside one that hangs."""
    well = [await endpoints.start(answering(200)) for _ in range(HOOKS - 1)]
    calm = await _delay(caller, well, [], tasks)
    beside = await _delay(caller, well, [await endpoints.start(hanging)], tasks)
    return {
        "webhook delay p50 ms": calm,
        "webhook delay p50 ms beside one that hangs": beside,
        "webhook delay beside one that hangs / without": beside / calm,
    }


async def _delay(caller: Caller, well: list[Endpoint], ill: list[Endpoint], tasks: int) -> float:
    """Milliseconds from the event to its arrival."""
    before = [len(endpoint.received) for endpoint in well]
    for _ in range(tasks):
        await _submit(caller, [*ill, *well])
        await asyncio.sleep(PAUSE_SECONDS)
    await _until_told(well, max(before) + tasks)
    arrived = [received for endpoint, begin in zip(well, before, strict=True) for received in endpoint.received[begin:]]
    return statistics.median(
        (received.clock - datetime.fromisoformat(received.data["time"]).timestamp()) * 1_000 for received in arrived
    )


async def _submit(caller: Caller, targets: Iterable[Endpoint]) -> None:
    hooks = [task_pb2.Webhook(url=endpoint.url) for endpoint in targets]
    await caller.submit("bench.hooked", queue="nobody", webhooks=hooks)


async def _until_told(targets: Iterable[Endpoint], count: int) -> None:
    async def told() -> bool:
        return all(len(endpoint.received) >= count for endpoint in targets)

    await eventually_async(told, within=WITHIN, what=f"{count} webhooks each")
