"""What `shared.ports.Broker` promises of broadcast events, on RabbitMQ and within one process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.contract.listeners import Ears

if TYPE_CHECKING:
    from shared.ports import Broker

pytestmark = pytest.mark.integration

KEYS = ("5e.task-1.submitted", "5e.task-1.cancelled", "5e.task-2.cancelled", "a0.task-3.cancelled", "a0", "5e")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("#", KEYS),
        ("5e.#", ("5e.task-1.submitted", "5e.task-1.cancelled", "5e.task-2.cancelled", "5e")),
        ("*.*.cancelled", ("5e.task-1.cancelled", "5e.task-2.cancelled", "a0.task-3.cancelled")),
        ("#.cancelled", ("5e.task-1.cancelled", "5e.task-2.cancelled", "a0.task-3.cancelled")),
        ("5e.task-1.*", ("5e.task-1.submitted", "5e.task-1.cancelled")),
        ("5e.*", ()),
        ("*", ("a0", "5e")),
        ("a0", ("a0",)),
        ("5e.task", ()),
        ("#.task-1.#", ("5e.task-1.submitted", "5e.task-1.cancelled")),
    ],
)
async def test_who_listens_hears_what_matches_the_pattern(
    broker: Broker, pattern: str, expected: tuple[str, ...]
) -> None:
    ears = await Ears.of(broker, pattern)
    for key in KEYS:
        broker.broadcast(key, key.encode())
    assert tuple(await ears.heard_so_far()) == expected
    assert all(key.encode() == body for key, body in ears.heard if key in KEYS)


async def test_an_event_that_matches_several_patterns_is_heard_once(broker: Broker) -> None:
    ears = await Ears.of(broker, "5e.#", "#.cancelled", "5e.task-1.cancelled")
    broker.broadcast("5e.task-1.cancelled", b"")
    assert await ears.heard_so_far() == ["5e.task-1.cancelled"]


async def test_once_a_pattern_is_bound_no_event_of_it_is_missed(broker: Broker) -> None:
    ears = await Ears.of(broker)
    for number in range(20):
        assert await ears.subscription.bind(f"{number:02x}.#")
        broker.broadcast(f"{number:02x}.task.submitted", b"")
    assert await ears.heard_so_far() == [f"{number:02x}.task.submitted" for number in range(20)]


async def test_patterns_asked_for_at_once_are_all_bound(broker: Broker) -> None:
    ears = await Ears.of(broker)
    answers = await asyncio.gather(*(ears.subscription.bind(f"{number % 50:02x}.#") for number in range(100)))
    assert answers == [True] * 100
    for number in range(50):
        broker.broadcast(f"{number:02x}.task.submitted", b"")
    assert len(await ears.heard_so_far()) == 50


async def test_events_arrive_in_the_order_they_were_sent_in(broker: Broker) -> None:
    ears = await Ears.of(broker, "5e.#")
    for number in range(1_000):
        broker.broadcast(f"5e.task.{number}", b"")
    assert await ears.heard_so_far() == [f"5e.task.{number}" for number in range(1_000)]


async def test_every_listener_hears_every_event(broker: Broker) -> None:
    ears = [await Ears.of(broker, "5e.#") for _ in range(3)]
    broker.broadcast("5e.task.submitted", b"")
    for each in ears:
        assert await each.heard_so_far() == ["5e.task.submitted"]


async def test_after_unbind_events_stop_and_after_another_bind_they_come_again(broker: Broker) -> None:
    ears = await Ears.of(broker, "5e.#", "a0.#")
    ears.subscription.unbind("5e.#")
    ears.subscription.unbind("never bound")

    async def silent() -> bool:
        before = len(await ears.heard_so_far())
        broker.broadcast("5e.task.submitted", b"")
        return len(await ears.heard_so_far()) == before

    async with asyncio.timeout(10):
        while not await silent():
            pass
    broker.broadcast("a0.task.submitted", b"")
    assert (await ears.heard_so_far())[-1] == "a0.task.submitted"
    assert await ears.subscription.bind("5e.#")
    broker.broadcast("5e.task.again", b"")
    assert (await ears.heard_so_far())[-1] == "5e.task.again"


async def test_a_pattern_that_is_no_longer_wanted_before_it_is_bound_holds_nobody_up(broker: Broker) -> None:
    ears = await Ears.of(broker)
    async with asyncio.timeout(5):
        binding = asyncio.create_task(ears.subscription.bind("5e.#"))
        await asyncio.sleep(0)
        ears.subscription.unbind("5e.#")
        await binding
        assert await ears.subscription.bind("5e.#")
    broker.broadcast("5e.task.submitted", b"")
    assert await ears.heard_so_far() == ["5e.task.submitted"]


async def test_a_closed_subscription_hears_nothing_more(broker: Broker) -> None:
    closed = await Ears.of(broker, "5e.#")
    other = await Ears.of(broker, "5e.#")
    await closed.subscription.close()
    assert not closed.subscription.is_live
    assert await closed.subscription.bind("#") is False
    broker.broadcast("5e.task.submitted", b"")
    await other.heard_so_far()
    assert closed.heard == []


async def test_an_event_to_which_nobody_listens_troubles_nobody(broker: Broker) -> None:
    broker.broadcast("5e.task.submitted", b"x" * 300_000)
    ears = await Ears.of(broker, "5e.#")
    broker.broadcast("5e.task.cancelled", b"y" * 300_000)
    assert await ears.heard_so_far() == ["5e.task.cancelled"]
    assert ears.heard[0][1] == b"y" * 300_000


async def test_a_feed_that_is_closed_while_it_begins_ends_at_once(broker: Broker) -> None:
    for number in range(100):
        subscription = await broker.subscribe(lambda _key, _body: None, lambda: None)
        await subscription.bind(f"{number}.#")
        await asyncio.sleep(number / 20_000)  # Up to the time that it takes to be bound.
        async with asyncio.timeout(1.5):
            await subscription.close()
