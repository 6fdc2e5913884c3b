"""Follow all tasks that match a filter, from now on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.watch.history import History
from gateway_service.watch.known_tasks import KnownTasks
from gateway_service.watch.matching_tasks import MatchingTasks
from gateway_service.watch.tail import tail
from gateway_service.watch.updates import Heartbeat, Outlet

if TYPE_CHECKING:
    from gateway_service.watch.hub import EventHub
    from gateway_service.watch.patrol import Patrol
    from gateway_service.watch.updates import Send
    from shared.domain.filters import TaskFilter
    from shared.ports import Record


class FollowMatching:
    """One watch after another of what matches a filter."""

    def __init__(self, record: Record, hub: EventHub, patrol: Patrol) -> None:
        self._history = History(record)
        self._hub = hub
        self._patrol = patrol
        self._known = KnownTasks(record)

    async def __call__(self, tenant: str, wanted: TaskFilter, *, heartbeat: float, send: Send) -> None:
        """Send the events of tasks that match before or after them; a heartbeat first, once nothing is missed.

        It goes on until it is cancelled, with a heartbeat when nothing else was sent for `heartbeat` seconds. Raises
        WatchBehindError if the client reads so slowly that events would be missing, TooManyWatchesError,
        ShuttingDownError or StoreUnavailableError.
        """
        feed = await self._hub.listen_to_all(tenant)
        try:
            outlet = Outlet(send, heartbeat=heartbeat)
            begun = await self._patrol.begin(tenant)
            tasks = MatchingTasks(
                tenant, wanted, begun, outlet, history=self._history, known=self._known, late=self._patrol.late
            )
            await outlet.send(Heartbeat(0))
            await tail(feed, outlet, tasks)
        finally:
            self._hub.drop(feed)
