"""Everything works on a Redis that applies the rules of a cluster to every command."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from taskcast.v1 import task_pb2
from tests.clients import calling, expect_whole_history
from tests.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import ValkeyFactory

pytestmark = pytest.mark.e2e


async def test_tasks_run_are_watched_retried_and_cancelled_under_the_key_rules_of_a_cluster(
    tmp_path: Path, valkey_factory: ValkeyFactory, rabbitmq_url: str
) -> None:
    store = valkey_factory(cluster_mode=True)
    with Stack(tmp_path / "stack", redis_url=store.url, rabbitmq_url=rabbitmq_url) as stack:
        stack.start(gateways=1, workers=1)
        async with calling(stack.address) as caller:
            tasks = [
                await caller.submit(type_, {"succeeds_at": 2, "steps": 2, "gate": str(stack.gate())})
                for type_ in ("test.steps", "test.flaky", "test.hold") * 5
            ]
            watches = [asyncio.create_task(caller.watch(task.id)) for task in tasks]
            for task in tasks[2::3]:
                await caller.until_running(task.id)
                await caller.cancel(task.id)
            finished = [await caller.until_finished(task.id) for task in tasks]
            watched = await asyncio.gather(*watches)

    for task, watch in zip(finished, watched, strict=True):
        expect_whole_history(watch, task)
    success, cancelled = task_pb2.TASK_STATUS_SUCCESS, task_pb2.TASK_STATUS_CANCELLED
    assert [task.status for task in finished] == [success, success, cancelled] * 5
