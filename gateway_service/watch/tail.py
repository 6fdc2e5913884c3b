"""The loop that all watches share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway_service.watch.updates import Heartbeat

if TYPE_CHECKING:
    from gateway_service.watch.feed import Feed, News
    from gateway_service.watch.updates import Outlet


class Watch(Protocol):
    """How far a watch has come, and what it does with news."""

    @property
    def finished(self) -> bool:
        """Whether everything was sent that will ever be."""
        ...

    @property
    def sequence(self) -> int:
        """What a heartbeat names."""
        ...

    async def take(self, news: News) -> None:
        """Send what is new in it, and in the record where that is ahead of it."""
        ...


async def tail(feed: Feed, outlet: Outlet, watch: Watch) -> None:
    """Hand the feed's news to the watch until that has finished; in silence send heartbeats.

    A quiet watch costs one timer. Whether it missed something is the patrol's care. Raises what the feed failed with.
    """
    while not watch.finished:
        if await feed.wait(outlet.silence_left):
            await watch.take(feed.take())
        # News may have had nothing to send: of tasks that do not match, or what had been sent before.
        if not outlet.silence_left and not watch.finished:
            await outlet.send(Heartbeat(watch.sequence))
