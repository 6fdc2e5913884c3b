"""The hub hands each event to those who asked for it, and asks the broker for no more than is needed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway_service.faults import ShuttingDownError, TooManyWatchesError
from gateway_service.watch import hub as hub_module
from gateway_service.watch.hub import EventHub
from shared.adapters.local import LocalBroker
from shared.codec import encode_broadcast
from shared.domain.task import EventType, TaskEvent, TaskStatus
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_service.watch.feed import Feed


def _id(number: int) -> str:
    """A task's id in the partition of the number's last two digits."""
    return f"00000000-0000-7000-8000-{number:012x}"


class _Exchange:
    """A broker within the process, and a hub at it."""

    def __init__(self) -> None:
        self.broker = LocalBroker()
        self.hub = EventHub(self.broker, most_watches=10)

    def broadcast(self, number: int, sequence: int = 1) -> None:
        event = TaskEvent(
            task_id=_id(number),
            sequence=sequence,
            type=EventType.STARTED,
            status=TaskStatus.PROCESSING,
            attempt=1,
            time=0,
        )
        self.broker.broadcast(*encode_broadcast(event))

    @property
    def patterns(self) -> set[str]:
        """What the hub is bound to."""
        (subscription,) = self.broker._subscriptions
        return set(subscription.patterns)


@pytest.fixture(name="exchange")
async def _exchange() -> AsyncIterator[_Exchange]:
    async with _opened() as exchange:
        yield exchange


@asynccontextmanager
async def _opened() -> AsyncIterator[_Exchange]:
    exchange = _Exchange()
    await exchange.hub.start()
    yield exchange
    await exchange.hub.close()
    await exchange.broker.close()


async def _numbers(feed: Feed) -> list[int]:
    """Of the tasks whose events have come by now: the broker hands them out in the next turn of the loop."""

    async def look() -> bool:
        return feed.has_news

    await eventually_async(look, within=5, what="an event")
    return [int(event.task_id[-12:], 16) for event in feed.take().events]


async def test_an_event_reaches_every_watch_of_its_task_and_every_watch_by_filter_and_no_other(
    exchange: _Exchange,
) -> None:
    one, both = await exchange.hub.listen([_id(1)]), await exchange.hub.listen([_id(1), _id(2)])
    everything = await exchange.hub.listen_to_all("acme")
    for number in (1, 2, 3):
        exchange.broadcast(number)

    assert await _numbers(everything) == [1, 2, 3]
    assert await _numbers(one) == [1]
    assert await _numbers(both) == [1, 2]


async def test_a_few_partitions_are_bound_each_and_many_as_one(exchange: _Exchange) -> None:
    few = await exchange.hub.listen([_id(number) for number in range(3)])
    assert exchange.patterns == {"00.#", "01.#", "02.#"}
    exchange.hub.drop(few)
    many = await exchange.hub.listen([_id(number) for number in range(256)])
    assert "#" in exchange.patterns
    exchange.broadcast(7)
    assert await _numbers(many) == [7]


async def test_a_binding_that_nobody_needs_any_more_is_given_up_after_a_while_and_not_before(
    exchange: _Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "UNBIND_AFTER_SECONDS", 0.05)
    first, second = await exchange.hub.listen([_id(1)]), await exchange.hub.listen([_id(1), _id(2)])
    everything = await exchange.hub.listen_to_all("acme")

    async def bound(*patterns: str) -> None:
        async def look() -> bool:
            return exchange.patterns == set(patterns)

        await eventually_async(look, within=5, what=f"the bindings to be {patterns}")

    exchange.hub.drop(second)
    await bound("01.#", "#")
    exchange.hub.drop(everything)
    await bound("01.#")
    exchange.hub.drop(first)
    again = await exchange.hub.listen([_id(1)])
    exchange.broadcast(1)
    assert await _numbers(again) == [1]
    exchange.hub.drop(again)
    await bound()


async def test_a_watch_counts_once_for_each_hundred_of_its_tasks(exchange: _Exchange) -> None:
    large = await exchange.hub.listen([_id(number) for number in range(850)])
    everything = await exchange.hub.listen_to_all("acme")
    with pytest.raises(TooManyWatchesError):
        await exchange.hub.listen([_id(1)])
    with pytest.raises(TooManyWatchesError):
        await exchange.hub.listen_to_all("acme")
    exchange.hub.drop(large)
    again = await exchange.hub.listen([_id(number) for number in range(900)])
    exchange.hub.drop(again)
    exchange.hub.drop(everything)

    assert not list(exchange.hub.feeds)
    assert not exchange.hub.unfinished()


async def test_what_is_no_event_has_the_record_asked(exchange: _Exchange) -> None:
    feed = await exchange.hub.listen([_id(1)])
    exchange.broker.broadcast(f"01.{_id(1)}.started", b"\xff\xff\xff")
    exchange.broadcast(1)

    assert await _numbers(feed) == [1]
    assert exchange.hub.missed.is_set()


async def test_a_watch_is_told_what_the_record_is_ahead_with(exchange: _Exchange) -> None:
    feed = await exchange.hub.listen([_id(1), _id(2), _id(3)])
    feed.places |= {_id(1): 4, _id(2): 4}
    assert sorted(exchange.hub.unfinished()) == [_id(1), _id(2)]
    exchange.hub.compare(_id(1), 4)
    assert not feed.has_news
    exchange.hub.compare(_id(1), 6)
    exchange.hub.compare(_id(2), 0)
    exchange.hub.compare(_id(3), 9)

    assert feed.take().ahead == {_id(1): 6, _id(2): 5}


async def test_a_hub_that_closes_ends_its_watches_and_takes_no_more(exchange: _Exchange) -> None:
    feeds: list[Feed] = [await exchange.hub.listen([_id(1)]), await exchange.hub.listen_to_all("acme")]
    await exchange.hub.close()
    for feed in feeds:
        with pytest.raises(ShuttingDownError):
            await feed.wait(10)
        exchange.hub.drop(feed)
    with pytest.raises(ShuttingDownError):
        await exchange.hub.listen([_id(1)])
