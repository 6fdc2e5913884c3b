"""A stream that is cut at any moment and resumed by Last-Event-ID, at whichever gateway, misses nothing."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

AT_ONCE = 20


class Follower:
    """Follows one task as a browser does: by Last-Event-ID, over connections that are cut again and again."""

    def __init__(self, session: aiohttp.ClientSession, task_id: str, dice: random.Random) -> None:
        self.events: list[dict[str, Any]] = []
        self.cuts = 0
        self._session = session
        self._task_id = task_id
        self._dice = dice
        self._last = "0"
        self._ended = False

    async def follow(self, bases: list[str], most_cuts: int) -> None:
        """Read to the end of the task, cut `most_cuts` times at most on the way."""
        while not self._ended:
            limit = self._dice.randrange(1_200) if self.cuts < most_cuts else None
            await self._read(self._dice.choice(bases), limit)

    async def _read(self, base: str, limit: int | None) -> None:
        """One connection: whole if `limit` is None, else cut after so many bytes."""
        headers = {"Last-Event-ID": self._last}
        async with self._session.get(f"{base}/tasks/{self._task_id}/stream", headers=headers) as response:
            assert response.status in (200, 204), await response.text()
            self._ended = response.status == 204
            received = b""
            async for chunk in response.content.iter_any():
                received += chunk
                if limit is not None and len(received) > limit:
                    received = received[:limit]
                    self.cuts += 1
                    response.close()
                    break
        # What lacks its empty line was cut in the middle, and a browser drops it.
        for block in received.decode().split("\n\n")[:-1]:
            self._take(dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")))

    def _take(self, fields: dict[str, str]) -> None:
        if fields.get("event") == "event":
            self.events.append(json.loads(fields["data"]))
            self._last = fields["id"]
        elif fields.get("event") == "end":
            self._ended = True


@pytest.mark.parametrize(
    ("cuts", "seed"),
    [(500, None)] + [pytest.param(5_000, seed, marks=[pytest.mark.soak, pytest.mark.timeout(900)]) for seed in (1, 2)],
)
async def test_a_stream_that_is_cut_again_and_again_misses_nothing(
    standing_stack: Stack, cuts: int, seed: int | None
) -> None:
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    print(f"seed {seed}")
    dice = random.Random(seed)
    bases = [gateway.http for gateway in standing_stack.gateways]
    made = 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:

        async def one(number: int) -> None:
            nonlocal made
            body = {"type": "test.steps", "payload": {"steps": dice.randrange(20, 60), "pause": 0.03}}
            async with session.post(f"{bases[number % 2]}/tasks", json=body) as response:
                task_id = (await response.json())["task"]["id"]
            follower = Follower(session, task_id, random.Random(dice.randrange(1 << 32)))
            await follower.follow(bases, most_cuts=60)
            made += follower.cuts
            _check(follower.events)

        number = 0
        while made < cuts:
            await asyncio.gather(*(one(number + offset) for offset in range(AT_ONCE)))
            number += AT_ONCE
    print(f"{made} cuts of {number} streams")


def _check(events: list[dict[str, Any]]) -> None:
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "TYPE_SUBMITTED"
    assert events[-1]["type"] == "TYPE_SUCCEEDED"
