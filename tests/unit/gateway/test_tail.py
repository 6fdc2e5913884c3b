"""The loop of a watch: news first, heartbeats in silence, and an end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway_service.faults import ShuttingDownError
from gateway_service.watch.feed import TaskFeed
from gateway_service.watch.tail import tail
from gateway_service.watch.updates import Heartbeat, Outlet

if TYPE_CHECKING:
    from gateway_service.watch.feed import News
    from gateway_service.watch.updates import Update

TASK = "the task"


class _Client:
    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.outlet = Outlet(self.send, heartbeat=0.05)

    async def send(self, update: Update) -> None:
        self.updates.append(update)


class _Restless:
    """A watch for which there is always news, none of it to be sent, until its client has had some heartbeats."""

    sequence = 7

    def __init__(self, feed: TaskFeed, client: _Client) -> None:
        self._feed = feed
        self._client = client

    @property
    def finished(self) -> bool:
        return len(self._client.updates) >= 3

    async def take(self, news: News) -> None:
        assert news.ahead
        self._feed.overtaken(TASK, 1)
        await asyncio.sleep(0)


async def test_heartbeats_come_though_there_is_always_news_that_is_not_to_be_sent() -> None:
    feed, client = TaskFeed([TASK]), _Client()
    feed.overtaken(TASK, 1)
    async with asyncio.timeout(10):
        await tail(feed, client.outlet, _Restless(feed, client))
    assert client.updates == [Heartbeat(7)] * 3


async def test_heartbeats_come_though_there_is_no_news_at_all() -> None:
    feed, client = TaskFeed([TASK]), _Client()
    async with asyncio.timeout(10):
        await tail(feed, client.outlet, _Restless(feed, client))
    assert client.updates == [Heartbeat(7)] * 3


async def test_a_feed_that_failed_ends_the_loop_at_once() -> None:
    feed, client = TaskFeed([TASK]), _Client()
    feed.overtaken(TASK, 1)
    feed.fail(ShuttingDownError())
    with pytest.raises(ShuttingDownError):
        await tail(feed, client.outlet, _Restless(feed, client))
    assert not client.updates
