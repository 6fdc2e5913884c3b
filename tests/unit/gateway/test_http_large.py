"""Large JSON makes nobody wait."""

from __future__ import annotations

import asyncio
import json

from gateway_service.http.json_message import put_json, to_json
from gateway_service.http.json_text import load_json
from gateway_service.http.large import LARGE, beside_the_loop
from taskcast.v1 import task_service_pb2 as pb


async def test_the_event_loop_goes_on_while_large_json_is_read_and_written() -> None:
    body = json.dumps({"type": "a", "payload": [1] * 100_000}).encode()
    assert len(body) > LARGE
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    waiting = asyncio.create_task(others())
    request = await beside_the_loop(len(body), lambda: put_json(load_json(body), pb.SubmitTaskRequest()))
    while_reading, turns = turns, 0
    written = await beside_the_loop(request.ByteSize(), lambda: to_json(request))
    waiting.cancel()
    assert while_reading > 10
    assert turns > 10
    assert json.loads(written) == json.loads(body)


async def test_small_json_needs_no_thread() -> None:
    def here() -> bool:
        return asyncio.get_running_loop().is_running()

    assert await beside_the_loop(100, here)
