"""Where broadcast events meet the watches of this process."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import structlog
from google.protobuf.message import DecodeError

from gateway_service.faults import ShuttingDownError, TooManyWatchesError
from gateway_service.watch.feed import Feed, TaskFeed, TenantFeed
from shared.codec import decode_event
from shared.domain.identity import partition_of
from shared.metrics import WATCHES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from shared.ports import Broker, Subscription

BIND_SECONDS = 1.0
"""How long a watch waits for its events to be bound. After that it begins all the same, and asks the record."""

UNBIND_AFTER_SECONDS = 30.0

MOST_PARTITIONS_BOUND = 64
"""A watch whose tasks lie in more partitions is bound to all 256: that is one binding, and hardly more events."""

ALL = "#"

TASKS_PER_WATCH = 100
"""A watch of more tasks counts as several: its memory grows with them."""

log = structlog.get_logger(__name__)


class EventHub:
    """Routes events to feeds. It is bound to the partitions that have watches, not to single tasks."""

    def __init__(self, broker: Broker, *, most_watches: int) -> None:
        """`most_watches` at once; one of many tasks counts once for each hundred of them."""
        self._broker = broker
        self._most_watches = most_watches
        self._open = 0
        self._by_task: dict[str, set[TaskFeed]] = {}
        self._of_all: set[TenantFeed] = set()
        self._needed: Counter[str] = Counter()
        self._subscription: Subscription | None = None
        self._closing = False
        self.missed = asyncio.Event()
        """Set when events may have been missed: the record should be asked soon."""

    async def start(self) -> None:
        """Begin to listen."""
        self._subscription = await self._broker.subscribe(self._on_event, self.missed.set)

    @property
    def is_live(self) -> bool:
        """Whether events arrive; if not, the record is asked more often."""
        return self._subscription is not None and self._subscription.is_live

    @property
    def feeds(self) -> Iterator[Feed]:
        """Every open feed, once."""
        yield from {feed for feeds in self._by_task.values() for feed in feeds}
        yield from self._of_all

    @property
    def tenant_feeds(self) -> Collection[TenantFeed]:
        """The open feeds of watches by filter."""
        return self._of_all

    def unfinished(self) -> list[str]:
        """The tasks that are watched by their ids and have not ended for at least one watch."""
        return [task_id for task_id, feeds in self._by_task.items() if any(task_id in feed.places for feed in feeds)]

    def compare(self, task_id: str, sequence: int) -> None:
        """The record's last event of the task is this one, 0 if the task is gone: tell the watches it is ahead of."""
        for feed in self._by_task.get(task_id, ()):
            place = feed.places.get(task_id)
            if place is not None and (sequence > place or not sequence):
                # A task that is gone has ended, and whoever still watches it has not seen that.
                feed.overtaken(task_id, sequence or place + 1)

    async def listen(self, task_ids: Iterable[str]) -> TaskFeed:
        """A feed of these tasks' events from now on. Raises TooManyWatchesError or ShuttingDownError."""
        feed = TaskFeed(task_ids)
        self._admit(feed)
        for task_id in feed.task_ids:
            self._by_task.setdefault(task_id, set()).add(feed)
        await self._bind_for(feed)
        return feed

    async def listen_to_all(self, tenant: str) -> TenantFeed:
        """A feed of all events from now on, for a tenant's watch. Raises TooManyWatchesError or ShuttingDownError."""
        feed = TenantFeed(tenant)
        self._admit(feed)
        self._of_all.add(feed)
        await self._bind_for(feed)
        return feed

    def drop(self, feed: Feed) -> None:
        """The watch has ended."""
        if isinstance(feed, TaskFeed):
            for task_id in feed.task_ids:
                feeds = self._by_task[task_id]
                feeds.discard(feed)
                if not feeds:
                    del self._by_task[task_id]
        elif isinstance(feed, TenantFeed):
            self._of_all.discard(feed)
        self._open -= _weight(feed)
        WATCHES.set(self._open)
        for pattern in _patterns(feed):
            self._needed[pattern] -= 1
            if not self._needed[pattern]:
                del self._needed[pattern]
                # Unbinding is slow, and the next watch that needs the pattern may be near.
                asyncio.get_running_loop().call_later(UNBIND_AFTER_SECONDS, self._unbind_if_idle, pattern)

    def fail_all(self, error: Exception) -> None:
        """End every watch."""
        for feed in self.feeds:
            feed.fail(error)

    async def close(self) -> None:
        """End every watch, then stop listening."""
        self._closing = True
        self.fail_all(ShuttingDownError())
        if self._subscription is not None:
            await self._subscription.close()

    def _admit(self, feed: Feed) -> None:
        if self._closing:
            raise ShuttingDownError
        if self._open + _weight(feed) > self._most_watches:
            raise TooManyWatchesError(f"This gateway holds {self._open} watches of {self._most_watches}; try later.")
        self._open += _weight(feed)
        WATCHES.set(self._open)
        self._needed.update(_patterns(feed))

    async def _bind_for(self, feed: Feed) -> None:
        try:
            async with asyncio.timeout(BIND_SECONDS):
                for pattern in _patterns(feed):
                    if self._subscription is not None:
                        await self._subscription.bind(pattern)
        except TimeoutError:
            log.warning("watch.unbound")
        except BaseException:
            self.drop(feed)
            raise

    def _unbind_if_idle(self, pattern: str) -> None:
        if not self._needed[pattern] and self._subscription is not None:
            self._subscription.unbind(pattern)

    def _on_event(self, routing_key: str, body: bytes) -> None:
        _, _, rest = routing_key.partition(".")
        feeds = self._by_task.get(rest.partition(".")[0], ())
        if not feeds and not self._of_all:
            return
        try:
            event = decode_event(body)
        except (DecodeError, ValueError) as error:
            # Others may publish to the exchange. What is no event of ours may hide one: the record knows.
            log.warning("watch.bad_event", routing_key=routing_key, error=str(error))
            self.missed.set()
            return
        for task_feed in feeds:
            task_feed.push(event)
        for tenant_feed in self._of_all:
            tenant_feed.push(event)


def _patterns(feed: Feed) -> Collection[str]:
    if isinstance(feed, TaskFeed):
        partitions = {partition_of(task_id) for task_id in feed.task_ids}
        if len(partitions) <= MOST_PARTITIONS_BOUND:
            return {f"{partition}.#" for partition in partitions}
    return (ALL,)


def _weight(feed: Feed) -> int:
    return -(-len(feed.task_ids) // TASKS_PER_WATCH) if isinstance(feed, TaskFeed) else 1
