from __future__ import annotations

import asyncio

import pytest

from tests.deadlines import eventually_async
from worker_service.webhooks.hosts import LINE_PER_SLOT, SHORTEST_WAIT, HostBusyError, Hosts


class Line:
    """Visits to one host, each of which goes on until it is told to end."""

    def __init__(self, hosts: Hosts, host: str = "slow.example") -> None:
        self._hosts = hosts
        self._host = host
        self.end = asyncio.Event()
        self.inside = 0
        self.most = 0
        self.visits: list[asyncio.Task[None]] = []

    def come(self, count: int) -> None:
        self.visits += [asyncio.create_task(self._visit()) for _ in range(count)]

    async def _visit(self) -> None:
        async with self._hosts.slot(self._host):
            self.inside += 1
            self.most = max(self.most, self.inside)
            await self.end.wait()
            self.inside -= 1

    async def until_inside(self, count: int) -> None:
        async def look() -> bool:
            return self.inside == count

        await eventually_async(look, within=5, what=f"{count} visits inside")


async def test_no_more_than_the_slots_go_to_a_host_at_once_and_all_get_their_turn() -> None:
    line = Line(Hosts(slots=3, patience=5))
    line.come(12)
    await line.until_inside(3)
    line.end.set()
    await asyncio.gather(*line.visits)
    assert line.most == 3


async def test_a_line_at_one_host_is_none_at_another() -> None:
    hosts = Hosts(slots=1, patience=5)
    slow, quick = Line(hosts), Line(hosts, "quick.example")
    slow.come(5)
    await slow.until_inside(1)
    quick.come(1)
    await quick.until_inside(1)
    for line in (slow, quick):
        line.end.set()
        await asyncio.gather(*line.visits)


async def test_who_stands_in_line_for_too_long_is_told_when_to_come_back() -> None:
    line = Line(Hosts(slots=1, patience=0.05))
    line.come(2)
    with pytest.raises(HostBusyError) as busy:
        await line.visits[1]
    assert busy.value.wait >= SHORTEST_WAIT
    line.end.set()
    await line.visits[0]


async def test_a_line_has_an_end() -> None:
    line = Line(Hosts(slots=1, patience=5))
    line.come(2 + LINE_PER_SLOT)
    with pytest.raises(HostBusyError):
        await line.visits[-1]
    line.end.set()
    await asyncio.gather(*line.visits[:-1])


async def test_a_visit_that_was_cancelled_leaves_its_slot_to_the_next() -> None:
    line = Line(Hosts(slots=1, patience=5))
    line.come(2)
    await line.until_inside(1)
    line.visits[0].cancel()
    await asyncio.gather(line.visits[0], return_exceptions=True)

    async def second_is_inside() -> bool:
        return line.inside == 2  # The cancelled one never counted itself out.

    await eventually_async(second_is_inside, within=5, what="the next one to have the slot")
    line.end.set()
    await line.visits[1]
