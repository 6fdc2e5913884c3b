"""Sends what is due, lane by lane.

A lane is one task's deliveries to one endpoint. Whoever takes it up holds it for a while, sends its deliveries one
after the other, and writes down after each how far the lane has come. If the process dies the lane is due again.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from shared.domain.identity import PARTITION_NAMES
from shared.domain.task import EventType
from shared.domain.webhooks import DeliveryKey, DeliveryState, Failure, WebhookDelivery, endpoints_of, give_up, wants
from shared.metrics import WEBHOOK_BACKLOG_AGE, WEBHOOK_GIVEN_UP, WEBHOOK_LANES
from shared.ports import StoreFullError, StoreUnavailableError
from worker_service.webhooks.courier import NotNowError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.domain.task import Millis, TaskEvent, Webhook
    from shared.domain.webhooks import StandingEndpoint
    from shared.ports import Clock, Deliveries, Lane, Record, TakenLane
    from worker_service.webhooks.courier import Courier

ROUND_SECONDS = 1.0
MEMBER_TTL: Millis = 5_000
GROUP = "webhooks"

MOST_LANES = 2_000
"""Lanes in hand at once. What is beyond stays due, and is found by the next round or another process."""

MOST_DUE = 64
"""Lanes of one partition that one round takes up."""

MOST_EVENTS = 64
"""Events of a lane that are read at once."""

log = structlog.get_logger(__name__)


class Dispatcher:
    """One process's part in sending webhooks. Any number may run: a lane is in one's hands at a time."""

    def __init__(
        self,
        record: Record,
        deliveries: Deliveries,
        courier: Courier,
        clock: Clock,
        *,
        name: str,
        standing: tuple[StandingEndpoint, ...],
        hold: Millis,
    ) -> None:
        """`hold`: how long a lane stays in hand without a word: longer than a try, and the wait for it, may take."""
        self._record = record
        self._deliveries = deliveries
        self._courier = courier
        self._clock = clock
        self._name = name
        self._standing = standing
        self._hold = hold
        self._lanes: dict[Lane, asyncio.Task[None]] = {}

    async def look(self) -> None:
        """One round: take up what is due in this process's share of the partitions."""
        members = await self._record.enrol(GROUP, self._name, ttl=MEMBER_TTL)
        share = PARTITION_NAMES[members.index(self._name) :: len(members)]
        now = self._clock.now()
        due = sorted(await self._deliveries.due(share, until=now, limit=MOST_DUE), key=lambda entry: entry[1])
        WEBHOOK_BACKLOG_AGE.set((now - due[0][1]) / 1_000 if due else 0)
        self.take_up(lane for lane, _ in due)

    def take_up(self, lanes: Iterable[Lane]) -> None:
        """These may be due."""
        for lane in lanes:
            if len(self._lanes) >= MOST_LANES:
                return
            if lane not in self._lanes:
                job = asyncio.create_task(self._serve(lane))
                self._lanes[lane] = job
                WEBHOOK_LANES.inc()
                job.add_done_callback(partial(self._end, lane))

    async def close(self, grace: float) -> None:
        """Let what is in hand be finished within `grace` seconds; the rest falls due when its hold is over."""
        jobs = list(self._lanes.values())
        if jobs:
            await asyncio.wait(jobs, timeout=grace)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await self._record.leave(GROUP, self._name)

    def _end(self, lane: Lane, _: asyncio.Task[None]) -> None:
        del self._lanes[lane]
        WEBHOOK_LANES.dec()

    async def _serve(self, lane: Lane) -> None:
        try:
            while (taken := await self._take(lane)) is not None and await self._work_off(taken):
                pass
        except NotNowError as later:
            await self._put_off(lane, later.until)
        except (StoreUnavailableError, StoreFullError) as error:
            log.warning("webhooks.failed", task_id=lane.task_id, endpoint=lane.endpoint, error=str(error))
        except Exception:
            # A fault of ours must not end the process; the lane falls due again when its hold is over.
            log.exception("webhooks.broken", task_id=lane.task_id, endpoint=lane.endpoint)

    async def _take(self, lane: Lane) -> TakenLane | None:
        now = self._clock.now()
        return await self._deliveries.take(lane, now=now, until=now + self._hold, limit=MOST_EVENTS)

    async def _work_off(self, taken: TakenLane) -> bool:
        """Send what was read of the lane, in order; whether to look at it again at once."""
        hook = endpoints_of(taken.task.spec, self._standing).get(taken.lane.endpoint)
        last = taken.events[-1].sequence if taken.events else taken.cursor
        more = len(taken.events) >= MOST_EVENTS
        pending = [event for event in taken.events if _is_pending(event, hook, taken)]
        for event in pending:
            delivery = await self._deliver(taken, event, hook)
            now = self._clock.now()
            if delivery.state is DeliveryState.PENDING:
                await self._settle(taken, delivery, cursor=taken.cursor, again_at=delivery.next_try_time, now=now)
                return False
            # Until its last event is settled the lane stays in hand.
            is_last = event is pending[-1]
            again_at = (now if more else None) if is_last else now + self._hold
            cursor = last if is_last else event.sequence
            after = await self._settle(taken, delivery, cursor=cursor, again_at=again_at, now=now)
            if after is None:
                # Either another has it, and then it is not due, or it begins again.
                return True
            taken = after
        if not pending:
            now = self._clock.now()
            await self._deliveries.settle(taken, cursor=last, again_at=now if more else None, now=now)
        return more

    async def _deliver(self, taken: TakenLane, event: TaskEvent, hook: Webhook | None) -> WebhookDelivery:
        delivery = taken.known.get(event.sequence) or WebhookDelivery(
            key=DeliveryKey(taken.lane.task_id, event.sequence, taken.lane.endpoint),
            url=hook.url if hook else "",
            event_type=event.type,
            create_time=event.time,
        )
        if hook is None:
            return give_up(delivery, Failure.UNKNOWN_ENDPOINT, self._clock.now())
        return await self._courier.deliver(taken.task, event, hook, delivery)

    async def _settle(
        self, taken: TakenLane, delivery: WebhookDelivery, *, cursor: int, again_at: Millis | None, now: Millis
    ) -> TakenLane | None:
        given_up = delivery.state is DeliveryState.FAILED
        if given_up:
            WEBHOOK_GIVEN_UP.inc()
            # Where an endpoint is disabled there may be very many: the listing has them, the log need not.
            say = log.warning if delivery.tries else log.debug
            say("webhook.given_up", delivery=delivery.key.id, tries=delivery.tries, error=delivery.last_error)
        # What was given up is to be seen, and sent again, for as long as a finished task is kept.
        keep = now + taken.task.spec.retention if given_up and taken.task.status.is_terminal else None
        return await self._deliveries.settle(
            taken, cursor=cursor, delivery=delivery, again_at=again_at, now=now, keep_until=keep
        )

    async def _put_off(self, lane: Lane, until: Millis) -> None:
        try:
            await self._deliveries.put_off(lane, until)
        except (StoreUnavailableError, StoreFullError) as error:
            log.warning("webhooks.failed", task_id=lane.task_id, endpoint=lane.endpoint, error=str(error))


def _is_pending(event: TaskEvent, hook: Webhook | None, taken: TakenLane) -> bool:
    """Whether the event is still to be sent; of an endpoint that is gone, whether it may have been."""
    if event.type is EventType.PROGRESSED or (hook is not None and not wants(hook, event)):
        return False
    known = taken.known.get(event.sequence)
    return known is None or known.state is DeliveryState.PENDING
