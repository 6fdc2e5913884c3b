"""Many open streams in one process: what they cost while nothing happens, and that each hears of its task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.services import resident_bytes

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

MOST_BYTES_A_STREAM = 100_000
BATCH = 500


@pytest.mark.parametrize("streams", [200, pytest.param(2_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
async def test_one_process_holds_many_streams_and_each_hears_the_end_of_its_task(
    own_stack: Stack, streams: int
) -> None:
    own_stack.start(workers=0)
    gateway = own_stack.gateways[0]
    timeout = aiohttp.ClientTimeout(300)
    async with aiohttp.ClientSession(gateway.http, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        ids = [task_id for _ in range(0, streams, BATCH) for task_id in await _submit(session, min(BATCH, streams))]
        # What the first streams need once is not what each costs.
        await _read_to_first(await session.get(f"/tasks/{ids[0]}/stream"))
        before = resident_bytes(gateway.pid)
        responses = await asyncio.gather(*(session.get(f"/tasks/{task_id}/stream") for task_id in ids))
        await asyncio.gather(*(_read_to_first(response) for response in responses))
        each = (resident_bytes(gateway.pid) - before) / streams
        print(f"{streams} streams, {each / 1_000:.1f} kB each")
        assert each < MOST_BYTES_A_STREAM
        async with session.get("/metrics") as numbers:
            assert f"taskcast_watches_open {streams + 1}.0" in await numbers.text()
        ends = [asyncio.ensure_future(response.text()) for response in responses]
        for start in range(0, streams, BATCH):
            async with session.post("/tasks/batch/cancel", json={"taskIds": ids[start : start + BATCH]}) as cancelled:
                assert cancelled.status == 200
        for end in await asyncio.gather(*ends):
            assert "TYPE_CANCELLED" in end
            assert end.endswith("event: end\ndata: {}\n\n")


async def _submit(session: aiohttp.ClientSession, count: int) -> list[str]:
    requests = [{"type": "test.echo", "queue": "nobody"}] * count
    async with session.post("/tasks/batch", json={"requests": requests}) as response:
        return [result["task"]["id"] for result in (await response.json())["results"]]


async def _read_to_first(response: aiohttp.ClientResponse) -> None:
    assert response.status == 200
    while not (await response.content.readline()).startswith(b"data:"):
        pass
