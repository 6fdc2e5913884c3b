"""What a system costs that has nothing to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from taskcast.v1 import task_pb2
from tests.clients import calling
from tests.services import processor_seconds

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

SECONDS = 10


async def test_an_idle_gateway_and_worker_use_less_than_2_percent_of_a_core(own_stack: Stack) -> None:
    own_stack.start(gateways=1, workers=1)
    async with calling(own_stack.address) as caller:
        task = await caller.submit("test.echo", 1)
        assert (await caller.until_finished(task.id)).status == task_pb2.TASK_STATUS_SUCCESS
    before = {service.name: processor_seconds(service.pid) for service in own_stack.services}
    # No wait for a condition: that nothing happens for so long is what is measured.
    await asyncio.sleep(SECONDS)
    used = {service.name: processor_seconds(service.pid) - before[service.name] for service in own_stack.services}

    print(", ".join(f"{name}: {seconds / SECONDS:.2%} of a core" for name, seconds in used.items()))
    assert sum(used.values()) / SECONDS < 0.02
