"""Where broadcast events meet the watches of this process."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import structlog
from google.protobuf.message import DecodeError

from gateway_service.faults import ShuttingDownError, TooManyWatchesError
from shared.codec import decode_event
from shared.domain.identity import partition_of

if TYPE_CHECKING:
    from shared.domain.task import TaskEvent
    from shared.ports import Broker, Subscription

FEED_EVENTS = 64
"""Events that one slow watch may have waiting. Beyond it the watch goes back to the log, which has them all."""

BIND_SECONDS = 1.0
"""How long a watch waits for its partition's events. After that it begins all the same, and asks the record."""

UNBIND_AFTER_SECONDS = 30.0

log = structlog.get_logger(__name__)


class Feed:
    """The events of one task, as they are broadcast, for one watch."""

    __slots__ = ("_changed", "_closing", "_events", "_must_read", "task_id")

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self._events: list[TaskEvent] = []
        self._must_read = False
        self._closing = False
        self._changed = asyncio.Event()

    def push(self, event: TaskEvent) -> None:
        """An event was broadcast."""
        if len(self._events) >= FEED_EVENTS:
            self.interrupt()
        else:
            self._events.append(event)
            self._changed.set()

    def interrupt(self) -> None:
        """Events were or may have been missed: the watch must read the log."""
        self._events.clear()
        self._must_read = True
        self._changed.set()

    def shut(self) -> None:
        """The gateway stops: the watch must end."""
        self._closing = True
        self._changed.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for news; false if none came in time. Raises ShuttingDownError."""
        if not self._changed.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                return False
        if self._closing:
            raise ShuttingDownError
        return True

    def take(self) -> list[TaskEvent] | None:
        """The events since the last call, in order of arrival; None if the log must be read instead."""
        self._changed.clear()
        events, self._events = self._events, []
        must_read, self._must_read = self._must_read, False
        return None if must_read else events


class EventHub:
    """Routes events to feeds. It is bound to the partitions that have watches, not to single tasks."""

    def __init__(self, broker: Broker, *, most_feeds: int) -> None:
        self._broker = broker
        self._most_feeds = most_feeds
        self._feeds: dict[str, set[Feed]] = {}
        self._open = 0
        self._watched: Counter[str] = Counter()
        self._subscription: Subscription | None = None
        self._closing = False

    async def start(self) -> None:
        """Begin to listen."""
        self._subscription = await self._broker.subscribe(self._on_event, self._on_gap)

    @property
    def is_live(self) -> bool:
        """Whether events arrive; if not, watches look at the record more often."""
        return self._subscription is not None and self._subscription.is_live

    async def listen(self, task_id: str) -> Feed:
        """A feed of the task's events from now on. Raises TooManyWatchesError or ShuttingDownError."""
        if self._closing:
            raise ShuttingDownError
        if self._open >= self._most_feeds:
            raise TooManyWatchesError(f"This gateway holds {self._most_feeds} watches already; try again later.")
        self._open += 1
        feed = Feed(task_id)
        self._feeds.setdefault(task_id, set()).add(feed)
        partition = partition_of(task_id)
        self._watched[partition] += 1
        try:
            async with asyncio.timeout(BIND_SECONDS):
                await self._bind(partition)
        except TimeoutError:
            log.warning("watch.unbound", partition=partition)
        except BaseException:
            self.drop(feed)
            raise
        return feed

    def drop(self, feed: Feed) -> None:
        """The watch has ended."""
        feeds = self._feeds[feed.task_id]
        feeds.discard(feed)
        if not feeds:
            del self._feeds[feed.task_id]
        self._open -= 1
        partition = partition_of(feed.task_id)
        self._watched[partition] -= 1
        if not self._watched[partition]:
            # Unbinding is slow and the next watch of the partition may be near.
            asyncio.get_running_loop().call_later(UNBIND_AFTER_SECONDS, self._unbind_if_idle, partition)

    async def close(self) -> None:
        """End every watch, then stop listening."""
        self._closing = True
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.shut()
        if self._subscription is not None:
            await self._subscription.close()

    async def _bind(self, partition: str) -> None:
        if self._subscription is not None:
            await self._subscription.bind(f"{partition}.#")

    def _unbind_if_idle(self, partition: str) -> None:
        if not self._watched[partition] and self._subscription is not None:
            self._subscription.unbind(f"{partition}.#")

    def _on_event(self, routing_key: str, body: bytes) -> None:
        _, _, rest = routing_key.partition(".")
        feeds = self._feeds.get(rest.partition(".")[0])
        if not feeds:
            return
        try:
            event = decode_event(body)
        except (DecodeError, ValueError) as error:
            # Others may publish to the exchange. What is no event of ours sends the watch to the record.
            log.warning("watch.bad_event", routing_key=routing_key, error=str(error))
            self._on_gap()
            return
        for feed in feeds:
            feed.push(event)

    def _on_gap(self) -> None:
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.interrupt()
