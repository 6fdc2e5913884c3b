"""What RabbitMQ's troubles look like through the port: on one node of our own, which is paused, stopped and wiped.

The tests run in this order, on a node that grows older.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aio_pika
import pytest

from shared.adapters.rabbitmq import RabbitBroker
from shared.adapters.rabbitmq.topology import LINES, Topology
from shared.domain.task import TaskPriority
from shared.ports import BrokerUnavailableError
from tests.contract.listeners import Ears, Hands, until
from tests.deadlines import eventually_async
from tests.servers import PrivateRabbitMQ, ServerMissingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.integration, pytest.mark.faults]

NORMAL = TaskPriority.NORMAL
BACK_WITHIN = 20.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbitMQ]:
    try:
        server = PrivateRabbitMQ(tmp_path_factory.mktemp("node"))
    except ServerMissingError as error:
        pytest.fail(str(error), pytrace=False)
    with server:
        server.start()
        yield server


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.adapters.rabbitmq.session.LONGEST_PAUSE", 0.3)


@pytest.fixture
async def broker(node: PrivateRabbitMQ, key_prefix: str) -> AsyncIterator[RabbitBroker]:
    broker = RabbitBroker(node.url, namespace=key_prefix)
    await until(lambda: broker.is_connected, "a connection to RabbitMQ", within=BACK_WITHIN)
    yield broker
    await broker.close()


class Repairs:
    """Counts how often the broker was found to have lost its memory."""

    def __init__(self) -> None:
        self.done = 0

    async def __call__(self) -> None:
        self.done += 1


async def delete_queues(node: PrivateRabbitMQ, namespace: str) -> None:
    async with await aio_pika.connect(node.url) as connection:
        channel = await connection.channel()
        for priority in LINES:
            await channel.queue_delete(Topology(namespace).line("default", priority))


async def test_a_deleted_queue_is_declared_again_by_the_next_dispatch(
    node: PrivateRabbitMQ, broker: RabbitBroker, key_prefix: str
) -> None:
    await broker.dispatch("default", NORMAL, b"lost with the queue")
    await delete_queues(node, key_prefix)
    await broker.dispatch("default", NORMAL, b"task")
    hands = await Hands.of(broker, prefetch=10)
    await hands.hold(1)
    assert hands.bodies == [b"task"]


async def test_the_consumer_of_a_deleted_queue_returns_by_itself(
    node: PrivateRabbitMQ, broker: RabbitBroker, key_prefix: str
) -> None:
    hands = await Hands.of(broker, prefetch=10)
    await delete_queues(node, key_prefix)
    # RabbitMQ 3.10 tells no consumer of a deletion when the queue is back, under its name, within milliseconds.
    await until(lambda: not hands.consumer.is_consuming, "the consumer to notice")
    await broker.dispatch("default", NORMAL, b"task")
    await hands.hold(1)
    await until(lambda: hands.consumer.is_consuming, "the consumer on all of its lines")


async def test_another_process_finds_the_marker_that_the_first_one_left(
    node: PrivateRabbitMQ, broker: RabbitBroker, key_prefix: str
) -> None:
    first, second = Repairs(), Repairs()
    await broker.guard_memory(first)
    await until(lambda: first.done == 1, "the first repair")
    async with await aio_pika.connect(node.url) as connection:
        channel = await connection.channel()

        async def marked() -> bool:
            try:
                await channel.declare_queue(Topology(key_prefix).marker_queue, passive=True)
            except aio_pika.exceptions.ChannelNotFoundEntity:
                await channel.reopen()
                return False
            return True

        await eventually_async(marked, within=10, what="the marker")
    other = RabbitBroker(node.url, namespace=key_prefix)
    try:
        await other.guard_memory(second)
        # Its consumers share the connection and come after the guard's look.
        hands = await Hands.of(other, prefetch=1)
        await broker.dispatch("default", NORMAL, b"task")
        await hands.hold(1)
        assert second.done == 0
    finally:
        await other.close()


async def test_what_is_not_confirmed_in_time_is_unavailable_and_works_once_the_server_goes_on(
    node: PrivateRabbitMQ, broker: RabbitBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.adapters.rabbitmq.publisher.CONFIRM_SECONDS", 0.3)
    hands = await Hands.of(broker, prefetch=100)
    await broker.dispatch("default", NORMAL, b"before")
    await hands.hold(1)
    node.pause()
    try:
        loop = asyncio.get_running_loop()
        began = loop.time()
        answers = await asyncio.gather(
            *(broker.dispatch("default", NORMAL, b"during") for _ in range(20)),
            broker.dispatch("slow", NORMAL, b"to a queue that does not exist yet"),
            return_exceptions=True,
        )
        assert {type(answer) for answer in answers} == {BrokerUnavailableError}
        assert loop.time() - began < 2
        broker.broadcast("5e.task.submitted", b"")
    finally:
        node.resume()
    monkeypatch.setattr("shared.adapters.rabbitmq.publisher.CONFIRM_SECONDS", 10.0)
    await broker.dispatch("default", NORMAL, b"after")
    # What was not confirmed may have been taken all the same: that is what unknown means.
    await until(lambda: b"after" in hands.bodies, "the message after the pause")
    assert set(hands.bodies) <= {b"before", b"during", b"after"}


async def test_over_a_restart_of_the_server_everything_returns_by_itself(
    node: PrivateRabbitMQ, broker: RabbitBroker
) -> None:
    repairs = Repairs()
    await broker.guard_memory(repairs)
    ears = await Ears.of(broker, "5e.#")
    hands = await Hands.of(broker, prefetch=10)
    await broker.dispatch("default", NORMAL, b"in hand")
    (in_hand,) = await hands.hold(1)
    await broker.dispatch("slow", NORMAL, b"waiting")
    await until(lambda: repairs.done == 1, "the first repair")
    gaps = ears.gaps

    await asyncio.to_thread(node.stop)
    await until(lambda: not broker.is_connected, "the loss of the publisher")
    await until(lambda: not hands.consumer.is_consuming, "the loss of the consumer")
    await until(lambda: not ears.subscription.is_live, "the loss of the subscription")
    async with asyncio.timeout(1):
        for queue in ("default", "new"):
            with pytest.raises(BrokerUnavailableError):
                await broker.dispatch(queue, NORMAL, b"in vain")
        assert await ears.subscription.bind("a0.#") is False
        broker.broadcast("5e.task.unheard", b"")
        await in_hand.ack()  # Of no effect: the broker has the message again.
        assert await hands.consumer.pull(NORMAL) is None
    hands.consumer.pause()
    hands.consumer.resume(20)

    await asyncio.to_thread(node.start)
    await until(lambda: broker.is_connected, "the publisher", within=BACK_WITHIN)
    await until(lambda: hands.consumer.is_consuming, "the consumer", within=BACK_WITHIN)
    await until(lambda: ears.subscription.is_live, "the subscription", within=BACK_WITHIN)
    assert ears.gaps > gaps
    await broker.dispatch("default", NORMAL, b"after")
    await until(lambda: b"after" in hands.bodies, "a delivery after the restart")
    assert sorted(hands.bodies) == [b"after", b"in hand", b"in hand"]
    slow = await Hands.of(broker, "slow", prefetch=1)
    await slow.hold(1)
    broker.broadcast("5e.task.submitted", b"")
    broker.broadcast("a0.task.submitted", b"")
    heard = await ears.heard_so_far()
    assert heard[-2:] == ["5e.task.submitted", "a0.task.submitted"]
    assert repairs.done == 1, "the server kept its data"


async def test_a_server_that_lost_its_disk_is_told_of_and_used_again(
    node: PrivateRabbitMQ, broker: RabbitBroker
) -> None:
    repairs = Repairs()
    await broker.guard_memory(repairs)
    hands = await Hands.of(broker, prefetch=1_000)
    await broker.dispatch("default", NORMAL, b"before")
    await hands.hold(1)
    await until(lambda: repairs.done == 1, "the first repair")

    # What is under way when the server dies fails at once, and does not wait for a confirmation that never comes.
    node.pause()
    under_way = [asyncio.create_task(broker.dispatch("default", NORMAL, b"under way")) for _ in range(1_000)]
    await asyncio.sleep(0)
    await asyncio.to_thread(node.kill)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*under_way, return_exceptions=True)
    assert {type(answer) for answer in answers} == {BrokerUnavailableError}

    node.wipe()
    await asyncio.to_thread(node.start)
    await until(lambda: repairs.done == 2, "the second repair", within=BACK_WITHIN)
    await until(lambda: broker.is_connected and hands.consumer.is_consuming, "both connections", within=BACK_WITHIN)
    await broker.dispatch("default", NORMAL, b"after")
    await until(lambda: b"after" in hands.bodies, "a delivery by the new server")
    assert repairs.done == 2
