"""What `shared.ports.Broker` promises, on RabbitMQ and within one process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.domain.task import TaskPriority
from shared.ports import BrokerUnavailableError, StoreUnavailableError, TaskMessage
from tests.contract.listeners import Hands, until
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from shared.ports import Broker, Delivery

pytestmark = pytest.mark.integration

HIGH, NORMAL, LOW = TaskPriority.HIGH, TaskPriority.NORMAL, TaskPriority.LOW


async def dispatch(broker: Broker, *bodies: bytes, queue: str = "default", priority: TaskPriority = NORMAL) -> None:
    for body in bodies:
        await broker.dispatch(queue, priority, body)


def numbered(count: int) -> list[bytes]:
    return [b"%03d" % number for number in range(count)]


# --- Task messages ----------------------------------------------------------------------------------------------------


async def test_a_dispatched_message_is_delivered_with_its_body_and_its_line(broker: Broker) -> None:
    hands = await Hands.of(broker, prefetch=10)
    for priority in TaskPriority:
        await dispatch(broker, priority.name.encode(), priority=priority)
    deliveries = await hands.hold(3)
    assert {delivery.body: delivery.priority for delivery in deliveries} == {
        b"HIGH": HIGH,
        b"NORMAL": NORMAL,
        b"LOW": LOW,
    }


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_072, 131_073, 1 << 20])
async def test_a_body_of_any_size_arrives_as_it_was(broker: Broker, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"\xce" * (size % 256)
    hands = await Hands.of(broker, prefetch=1)
    await dispatch(broker, body)
    (delivery,) = await hands.hold(1)
    assert delivery.body == body


async def test_a_paused_consumer_gets_one_message_of_a_line_when_it_asks_and_none_from_an_empty_line(
    broker: Broker,
) -> None:
    await dispatch(broker, b"1", b"2")
    await dispatch(broker, b"low", priority=LOW)
    hands = await Hands.of(broker, prefetch=1)
    hands.consumer.pause()
    await until(lambda: not hands.consumer.is_consuming, "the consumer to pause")
    for delivery in hands.deliveries:
        await delivery.give_back()

    async def pulled(priority: TaskPriority) -> Delivery:
        async def look() -> Delivery | None:
            return await hands.consumer.pull(priority)

        found = await eventually_async(look, within=10, what=f"a message in the line {priority.name}")
        assert found is not None
        return found

    assert await hands.consumer.pull(HIGH) is None
    low = await pulled(LOW)
    assert (low.body, low.priority) == (b"low", LOW)
    first, second = await pulled(NORMAL), await pulled(NORMAL)
    assert sorted([first.body, second.body]) == [b"1", b"2"]
    assert await hands.consumer.pull(NORMAL) is None
    await first.ack()
    await second.give_back()
    again = await pulled(NORMAL)
    assert again.body == second.body
    await again.ack()
    assert await hands.consumer.pull(NORMAL) is None


async def test_a_consumer_may_ask_in_all_of_its_queues(broker: Broker) -> None:
    hands = await Hands.of(broker, "default", "slow", prefetch=1)
    hands.consumer.pause()
    await until(lambda: not hands.consumer.is_consuming, "the consumer to pause")
    for queue in ("default", "slow"):
        await dispatch(broker, queue.encode(), queue=queue, priority=HIGH)
    found = set()

    async def both() -> bool:
        delivery = await hands.consumer.pull(HIGH)
        if delivery is not None:
            found.add(delivery.body)
        return len(found) == 2

    await eventually_async(both, within=10, what="a message of each queue")
    assert found == {b"default", b"slow"}


async def test_a_message_waits_for_a_worker_however_late(broker: Broker) -> None:
    await dispatch(broker, b"early")
    hands = await Hands.of(broker, prefetch=1)
    await hands.hold(1)


async def test_messages_of_a_line_come_in_order(broker: Broker) -> None:
    await dispatch(broker, *numbered(100))
    hands = await Hands.of(broker, prefetch=200)
    await hands.hold(100)
    assert hands.bodies == numbered(100)


async def test_many_dispatches_at_once_are_each_delivered_once(broker: Broker) -> None:
    hands = await Hands.of(broker, prefetch=2_000)
    await asyncio.gather(*(dispatch(broker, body) for body in numbered(1_500)))
    await hands.hold(1_500)
    assert sorted(hands.bodies) == sorted(numbered(1_500))


async def test_many_messages_are_dispatched_in_one_call_each_in_its_line_and_in_order(broker: Broker) -> None:
    hands = await Hands.of(broker, prefetch=2_000)
    messages = [TaskMessage("default", list(TaskPriority)[n % 3], body) for n, body in enumerate(numbered(900))]
    assert await broker.dispatch_all(messages) == [None] * 900
    assert await broker.dispatch_all([]) == []
    deliveries = await hands.hold(900)
    for priority in TaskPriority:
        sent = [message.body for message in messages if message.priority is priority]
        assert [delivery.body for delivery in deliveries if delivery.priority is priority] == sent


async def test_an_acknowledged_message_is_gone_and_any_other_returns_when_its_consumer_closes(broker: Broker) -> None:
    first = await Hands.of(broker, prefetch=10)
    await dispatch(broker, *numbered(6))
    deliveries = await first.hold(6)
    for delivery in deliveries[::2]:
        await delivery.ack()
    await first.consumer.close()
    second = await Hands.of(broker, prefetch=10)
    await second.hold(3)
    await dispatch(broker, b"last")
    await second.hold(4)
    assert sorted(second.bodies) == [b"001", b"003", b"005", b"last"]


async def test_a_message_that_was_given_back_is_delivered_again(broker: Broker) -> None:
    hands = await Hands.of(broker, prefetch=1)
    await dispatch(broker, b"task", priority=HIGH)
    for times in range(1, 6):
        deliveries = await hands.hold(times)
        assert (deliveries[-1].body, deliveries[-1].priority) == (b"task", HIGH)
        await deliveries[-1].give_back()
    await hands.hold(6)


async def test_a_message_that_was_given_back_by_a_paused_worker_goes_to_another(broker: Broker) -> None:
    busy = await Hands.of(broker, prefetch=2)
    await dispatch(broker, b"one", b"two")
    deliveries = await busy.hold(2)
    busy.consumer.pause()
    await until(lambda: not busy.consumer.is_consuming, "the pause")
    for delivery in list(deliveries):
        await delivery.give_back()
    idle = await Hands.of(broker, prefetch=2)
    await idle.hold(2)
    assert sorted(idle.bodies) == [b"one", b"two"]
    assert len(busy.deliveries) == 2


async def test_settling_a_delivery_of_a_closed_consumer_does_nothing(broker: Broker) -> None:
    first = await Hands.of(broker, prefetch=2)
    await dispatch(broker, b"one", b"two")
    one, two = await first.hold(2)
    await first.consumer.close()
    await one.ack()
    await two.give_back()
    second = await Hands.of(broker, prefetch=10)
    await second.hold(2)
    await dispatch(broker, b"last")
    await second.hold(3)


# --- Consumers --------------------------------------------------------------------------------------------------------


async def test_a_consumer_starts_paused(broker: Broker) -> None:
    paused = await Hands.of(broker)
    other = await Hands.of(broker, prefetch=20)
    await dispatch(broker, *numbered(10))
    await other.hold(10)
    assert paused.deliveries == []
    assert not paused.consumer.is_consuming
    assert other.consumer.is_consuming


async def test_no_more_is_delivered_of_each_line_than_was_asked_for(broker: Broker) -> None:
    for priority in TaskPriority:
        await dispatch(broker, *numbered(10), priority=priority)
    modest = await Hands.of(broker, prefetch=2)
    deliveries = await modest.hold(6)
    assert sorted(delivery.priority for delivery in deliveries) == [LOW, LOW, NORMAL, NORMAL, HIGH, HIGH]
    greedy = await Hands.of(broker, prefetch=100)
    await greedy.hold(24)
    assert len(modest.deliveries) == 6


async def test_each_settled_delivery_makes_room_for_another(broker: Broker) -> None:
    hands = await Hands.of(broker, prefetch=1)
    await dispatch(broker, *numbered(5))
    for count in range(1, 6):
        deliveries = await hands.hold(count)
        await deliveries[-1].ack()
    assert hands.bodies == numbered(5)


async def test_several_consumers_share_the_work(broker: Broker) -> None:
    one = await Hands.of(broker, prefetch=5)
    other = await Hands.of(broker, prefetch=5)
    await dispatch(broker, *numbered(10))
    await one.hold(5)
    await other.hold(5)
    assert sorted(one.bodies + other.bodies) == numbered(10)


async def test_a_consumer_takes_from_its_queues_and_no_other(broker: Broker) -> None:
    both = await Hands.of(broker, "default", "slow", prefetch=10)
    await dispatch(broker, b"default")
    await dispatch(broker, b"slow", queue="slow")
    await both.hold(2)
    await both.ack_all()
    await both.consumer.close()
    slow = await Hands.of(broker, "slow", prefetch=10)
    await dispatch(broker, b"not for it")
    await dispatch(broker, b"for it", queue="slow")
    await slow.hold(1)
    assert slow.bodies == [b"for it"]


async def test_what_a_paused_consumer_has_in_hand_stays_its_own(broker: Broker) -> None:
    first = await Hands.of(broker, prefetch=2)
    await dispatch(broker, b"one", b"two")
    await first.hold(2)
    first.consumer.pause()
    await until(lambda: not first.consumer.is_consuming, "the pause")
    second = await Hands.of(broker, prefetch=10)
    await dispatch(broker, *numbered(5))
    await second.hold(5)
    assert sorted(second.bodies) == numbered(5)
    await first.ack_all()
    await first.consumer.close()
    await dispatch(broker, b"last")
    await second.hold(6)
    assert second.bodies[-1] == b"last"


async def test_a_paused_consumer_goes_on_with_another_prefetch(broker: Broker) -> None:
    hands = await Hands.of(broker, prefetch=1)
    await dispatch(broker, *numbered(6))
    await hands.hold(1)
    hands.consumer.pause()
    hands.consumer.resume(10)
    await hands.hold(6)
    assert sorted(hands.bodies) == numbered(6)


async def test_a_closed_consumer_takes_nothing_more(broker: Broker) -> None:
    closed = await Hands.of(broker, prefetch=10)
    await closed.consumer.close()
    assert not closed.consumer.is_consuming
    closed.consumer.resume(10)
    other = await Hands.of(broker, prefetch=10)
    await dispatch(broker, *numbered(4))
    await other.hold(4)
    assert closed.deliveries == []
    assert not closed.consumer.is_consuming


# --- The broker itself ------------------------------------------------------------------------------------------------


async def test_a_new_broker_is_told_of_until_somebody_has_repaired_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for adapter in ("local", "rabbitmq"):
        monkeypatch.setattr(f"shared.adapters.{adapter}.broker.REPAIR_PAUSE_SECONDS", 0.05)
    calls = 0

    async def repair() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise StoreUnavailableError("the record is away")
        if calls == 2:
            raise BrokerUnavailableError("and so is the broker")

    guarding = asyncio.create_task(broker.guard_memory(repair))
    await until(lambda: calls == 3, "the third try, which succeeds")
    await guarding
    hands = await Hands.of(broker, prefetch=1)
    await dispatch(broker, b"task")
    await hands.hold(1)
    assert calls == 3


async def test_a_closed_broker_takes_nothing_more(broker: Broker) -> None:
    await dispatch(broker, b"task")
    assert broker.is_connected
    await broker.close()
    with pytest.raises(BrokerUnavailableError):
        await dispatch(broker, b"task")
    broker.broadcast("5e.task.submitted", b"")
    await until(lambda: not broker.is_connected, "the end of the connection", within=1)
