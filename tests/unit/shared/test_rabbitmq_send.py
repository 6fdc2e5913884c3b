"""Frames that are queued on a channel: `shared.adapters.rabbitmq.session.send`."""

from __future__ import annotations

import asyncio

import pytest
from aiormq.abc import ChannelFrame

from shared.adapters.rabbitmq.session import send

FRAMES = [ChannelFrame(bytes([number]), should_close=False) for number in range(5)]


class Channel:
    """What `send` knows of a channel of the library, whose writer the test is."""

    def __init__(self) -> None:
        self.write_queue: asyncio.Queue[ChannelFrame] = asyncio.Queue(maxsize=2)
        self.closing = asyncio.get_running_loop().create_future()

    @property
    def is_closed(self) -> bool:
        return self.closing.done()


async def _sending(channel: Channel, frames: list[ChannelFrame]) -> list[asyncio.Task[None]]:
    sending = [asyncio.create_task(send(channel, frame)) for frame in frames]  # type: ignore[arg-type]
    await asyncio.wait(sending, timeout=0)
    return sending


async def test_frames_are_written_in_order_though_the_writer_is_slow() -> None:
    channel = Channel()
    sending = await _sending(channel, FRAMES)
    written = [await channel.write_queue.get() for _ in FRAMES]
    await asyncio.gather(*sending)
    assert written == FRAMES


async def test_whoever_waits_for_room_goes_on_when_the_channel_closes() -> None:
    channel = Channel()
    sending = await _sending(channel, FRAMES)
    channel.closing.set_exception(ConnectionError("lost"))
    async with asyncio.timeout(5):
        await asyncio.gather(*sending)
    assert channel.write_queue.qsize() == 2
    assert isinstance(channel.closing.exception(), ConnectionError)


async def test_on_a_closed_channel_nothing_is_queued() -> None:
    channel = Channel()
    channel.closing.set_result(None)
    await send(channel, FRAMES[0])  # type: ignore[arg-type]
    assert channel.write_queue.empty()


async def test_whoever_gives_up_waiting_for_room_leaves_no_frame_behind() -> None:
    channel = Channel()
    *_, last = await _sending(channel, FRAMES[:3])
    await asyncio.sleep(0)
    last.cancel()
    with pytest.raises(asyncio.CancelledError):
        await last
    assert [channel.write_queue.get_nowait() for _ in range(2)] == FRAMES[:2]
    await asyncio.sleep(0)
    assert channel.write_queue.empty()
