"""RabbitMQ is short of memory and reads nothing: our own memory stays bounded, and all goes on afterwards."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from shared.adapters.rabbitmq import RabbitBroker, publisher
from shared.domain.task import TaskPriority
from shared.ports import BrokerUnavailableError
from tests.deadlines import eventually_async
from tests.services import resident_bytes

if TYPE_CHECKING:
    from tests.servers import PrivateRabbitMQ

pytestmark = pytest.mark.faults

EVENTS = 100_000
EVENT_BYTES = 1_000


async def test_what_cannot_be_sent_does_not_pile_up_while_rabbitmq_is_short_of_memory(
    rabbit: PrivateRabbitMQ, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "CONFIRM_SECONDS", 1.0)
    broker = RabbitBroker(rabbit.url, namespace=key_prefix, name="the test")
    heard: list[str] = []
    try:
        subscription = await broker.subscribe(lambda key, _: heard.append(key), lambda: None)
        await subscription.bind("00.#")

        async def connected() -> bool:
            return broker.is_connected and subscription.is_live

        await eventually_async(connected, within=20, what="the connections")
        await broker.dispatch(key_prefix, TaskPriority.NORMAL, b"before")
        await asyncio.to_thread(rabbit.ctl, "set_vm_memory_high_watermark", "0")
        try:
            before = resident_bytes(os.getpid())
            for number in range(EVENTS):
                broker.broadcast(f"00.{number}.progressed", b"x" * EVENT_BYTES)
                if number % 1_000 == 0:
                    await asyncio.sleep(0)  # Whoever sends them has its turn.
            with pytest.raises(BrokerUnavailableError):
                await broker.dispatch(key_prefix, TaskPriority.NORMAL, b"meanwhile")
            grown = resident_bytes(os.getpid()) - before
        finally:
            await asyncio.to_thread(rabbit.ctl, "set_vm_memory_high_watermark", "0.4")
        broker.broadcast("00.last.progressed", b"last")

        async def heard_last() -> bool:
            return "00.last.progressed" in heard

        await eventually_async(heard_last, within=20, what="events to come again")
        await broker.dispatch(key_prefix, TaskPriority.NORMAL, b"after")
    finally:
        await broker.close()

    print(f"grown by {grown / 1e6:.0f} MB for {EVENTS * EVENT_BYTES / 1e6:.0f} MB of events")
    assert grown < EVENTS * EVENT_BYTES / 2
