"""What `shared.ports.Broker` promises of news of webhooks, on RabbitMQ and within one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.listeners import Ears, until

if TYPE_CHECKING:
    from shared.ports import Broker

pytestmark = pytest.mark.integration


async def _attended(broker: Broker, count: int = 1) -> list[list[bytes]]:
    """What so many listeners are told, once all are told something: RabbitMQ may have to make the queue."""
    told: list[list[bytes]] = [[] for _ in range(count)]
    for each in told:
        await broker.attend(each.append)

    def all_hear() -> bool:
        for _ in told:
            broker.announce(b"anybody there?")
        return all(told)

    await until(all_hear, "news of anything")
    broker.announce(b"enough")
    await until(lambda: any(each and each[-1] == b"enough" for each in told), "the last of it")
    for each in told:
        each.clear()
    return told


async def test_news_are_told_to_who_attends(broker: Broker) -> None:
    [told] = await _attended(broker)
    for number in range(300):
        broker.announce(b"%d" % number)
    await until(lambda: len(told) == 300, "all news")
    assert told == [b"%d" % number for number in range(300)]


async def test_each_piece_goes_to_one_of_those_who_attend(broker: Broker) -> None:
    one, two = await _attended(broker, 2)
    for number in range(100):
        broker.announce(b"%d" % number)
    await until(lambda: sum(piece.isdigit() for piece in one + two) >= 100, "all news")
    assert sorted(piece for piece in one + two if piece.isdigit()) == sorted(b"%d" % number for number in range(100))
    assert one
    assert two


async def test_who_has_closed_is_told_nothing_more(broker: Broker) -> None:
    told: list[bytes] = []
    gone = await broker.attend(told.append)
    await gone.close()
    [other] = await _attended(broker)
    told.clear()
    for number in range(20):
        broker.announce(b"%d" % number)
    await until(lambda: len(other) == 20, "all news")
    assert not told


async def test_news_are_no_events(broker: Broker) -> None:
    ears = await Ears.of(broker, "#")
    [told] = await _attended(broker)
    broker.announce(b"something")
    await until(lambda: bool(told), "the news")
    assert await ears.heard_so_far() == []


async def test_news_that_nobody_attends_disturb_nobody(broker: Broker) -> None:
    for _ in range(10):
        broker.announce(b"into the void")
    assert await (await Ears.of(broker, "#")).heard_so_far() == []
