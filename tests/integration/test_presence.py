"""A worker is seen while it lives, whatever its handlers do to its event loop, and not after."""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from shared.adapters.local import LocalBroker
from shared.adapters.redis import RedisRecord
from tests.deadlines import eventually_async
from tests.stack import delete_keys
from worker_service import presence, task
from worker_service.bootstrap import Worker
from worker_service.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.ports import WorkerReport

pytestmark = pytest.mark.integration


@task("nothing")
async def nothing(_ctx: object, _payload: object) -> None:
    """Do nothing."""


class Corner:
    """A place for one worker, and what the catalogue says of it."""

    def __init__(self, redis_url: str, prefix: str, record: RedisRecord) -> None:
        self.record = record
        self._settings = WorkerSettings.model_validate(
            {
                "REDIS_URL": redis_url,
                "TASKCAST_NAMESPACE": prefix,
                "WORKER_QUEUES": "slow,default",
                "WORKER_CONCURRENCY": 7,
                "WORKER_DRAIN_SECONDS": 1,
            }
        )

    def worker(self) -> Worker:
        return Worker(self._settings, {"nothing": nothing, "another": nothing}, broker=LocalBroker())

    async def seen(self) -> WorkerReport:
        async def look() -> WorkerReport | None:
            return next(iter(await self.record.catalogue.workers()), None)

        report = await eventually_async(look, within=10, what="the worker to be seen")
        assert report is not None
        return report


@pytest.fixture
async def corner(redis_url: str, key_prefix: str) -> AsyncIterator[Corner]:
    async with AsyncExitStack() as stack:
        stack.callback(delete_keys, redis_url, key_prefix)
        record = RedisRecord(redis_url, prefix=key_prefix)
        stack.push_async_callback(record.close)
        yield Corner(redis_url, key_prefix, record)


async def test_a_worker_says_what_it_is_and_withdraws_when_it_stops(corner: Corner) -> None:
    before = await corner.record.server_time()
    async with corner.worker():
        report = await corner.seen()
    after = await corner.record.server_time()

    assert report.name.endswith(f"/{os.getpid()}")
    assert report.types == ("another", "nothing")
    assert report.queues == ("default", "slow")
    assert (report.slots, report.running) == (7, 0)
    assert report.version == metadata.version("taskcast")
    assert before - 1_000 <= report.start_time <= report.heartbeat_time <= after + 1_000
    assert await corner.record.catalogue.workers() == []


async def test_a_worker_whose_event_loop_is_blocked_is_seen_all_the_same(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "REPORT_SECONDS", 0.1)
    monkeypatch.setattr(presence, "REPORT_KEPT", 500)
    async with corner.worker():
        first = await corner.seen()
        time.sleep(1.5)  # noqa: ASYNC251  # As a handler does that should not: much longer than a report is kept.
        (later,) = await corner.record.catalogue.workers()

    assert later.start_time == first.start_time
    assert later.heartbeat_time >= first.heartbeat_time + 1_000


async def test_a_worker_that_falls_silent_is_not_seen_for_long(corner: Corner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "REPORT_SECONDS", 60.0)
    monkeypatch.setattr(presence, "REPORT_KEPT", 400)
    async with corner.worker():
        await corner.seen()

        async def gone() -> bool:
            return not await corner.record.catalogue.workers()

        await eventually_async(gone, within=5, what="the silent worker to be gone")
