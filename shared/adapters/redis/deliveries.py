"""Webhook deliveries, in the slots of their tasks.

The log says what there is to deliver. Beside it lie, for each task, the cursors of its lanes and what became of each
delivery that was tried; and for each partition, when its lanes are to be looked at, and an index of all deliveries.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.adapters.redis.layout import STATUS_SPAN, index_score, member_of, task_id_of
from shared.adapters.redis.pages import index_reader, newest
from shared.adapters.redis.store import Script
from shared.adapters.redis.stored import event_of, pairs, task_of
from shared.codec import decode_delivery, encode_delivery
from shared.domain.identity import PARTITION_NAMES, partition_of
from shared.domain.webhooks import DeliveryKey, DeliveryState, EndpointHealth
from shared.ports import Lane, ListedDelivery, TakenLane

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from shared.adapters.redis.layout import Layout
    from shared.adapters.redis.store import RedisStore
    from shared.domain.task import Millis
    from shared.domain.webhooks import WebhookDelivery

_TAKE = Script("take")
_SETTLE = Script("settle")
_DELIVER_AGAIN = Script("deliver_again")

_ID_BYTES = 16


class RedisDeliveries:
    """The port of webhook deliveries on the store of a record."""

    def __init__(self, store: RedisStore, layout: Layout) -> None:
        self._store = store
        self._layout = layout

    async def due(self, partitions: Iterable[str], *, until: Millis, limit: int) -> list[tuple[Lane, Millis]]:
        """See `shared.ports.Deliveries.due`."""
        replies = await self._store.call_all(
            ("ZRANGE", self._layout.lanes(partition), "-inf", until, "BYSCORE", "LIMIT", 0, limit, "WITHSCORES")
            for partition in partitions
        )
        return [(_lane_of(member), int(score)) for reply in replies for member, score in pairs(reply)]

    async def take(self, lane: Lane, *, now: Millis, until: Millis, limit: int) -> TakenLane | None:
        """See `shared.ports.Deliveries.take`."""
        reply = await self._store.run(
            _TAKE,
            (
                self._layout.lanes(partition_of(lane.task_id)),
                self._layout.task(lane.task_id),
                self._layout.log(lane.task_id),
                self._layout.hooks(lane.task_id),
            ),
            (_member(lane), lane.endpoint, now, until, limit),
        )
        if reply is None:
            return None
        cursor, asked, life, timers, entries, tried = reply
        known = dict(zip(tried[::2], tried[1::2], strict=True))
        events = [event_of(lane.task_id, entry) for entry in entries]
        events = [event for event in events if event.sequence > int(cursor)][:limit]
        return TakenLane(
            lane=lane,
            task=task_of(asked, life, timers),
            cursor=int(cursor),
            again=int(known.get(f"again/{lane.endpoint}".encode(), 0)),
            events=tuple(events),
            known={
                key.sequence: decode_delivery(key, known[field])
                for key in (DeliveryKey(lane.task_id, event.sequence, lane.endpoint) for event in events)
                if (field := _field(key).encode()) in known
            },
        )

    async def settle(
        self,
        taken: TakenLane,
        *,
        cursor: int,
        delivery: WebhookDelivery | None = None,
        again_at: Millis | None,
        now: Millis,
        keep_until: Millis | None = None,
    ) -> TakenLane | None:
        """See `shared.ports.Deliveries.settle`."""
        lane, task = taken.lane, taken.task
        shelf = self._layout.shelf(task)
        written: tuple[str | bytes | int, ...] = ("", "", "", "", "")
        if delivery is not None:
            written = (
                _field(delivery.key),
                encode_delivery(delivery),
                _entry(delivery.key),
                index_score(DeliveryState.PENDING, delivery.create_time),
                index_score(delivery.state, delivery.create_time),
            )
        settled = await self._store.run(
            _SETTLE,
            (
                shelf.lanes,
                self._layout.task(task.id),
                self._layout.hooks(task.id),
                shelf.expiries,
                shelf.deliveries,
            ),
            (
                _member(lane),
                lane.endpoint,
                taken.cursor,
                cursor,
                "" if again_at is None else again_at,
                task.sequence,
                now,
                member_of(task.id),
                "" if keep_until is None else keep_until,
                *written,
                taken.again,
            ),
        )
        return replace(taken, cursor=cursor) if settled else None

    async def put_off(self, lane: Lane, until: Millis) -> None:
        """See `shared.ports.Deliveries.put_off`."""
        await self._store.call("ZADD", self._layout.lanes(partition_of(lane.task_id)), "XX", until, _member(lane))

    async def page(
        self, tenant: str, states: Collection[DeliveryState], *, before: ListedDelivery | None, limit: int
    ) -> tuple[list[ListedDelivery], bool]:
        """See `shared.ports.Deliveries.page`."""
        read = index_reader(self._store, lambda partition: self._layout.deliveries(partition, tenant))
        runs = [(partition, int(state)) for partition in PARTITION_NAMES for state in states]
        start = (STATUS_SPAN, b"") if before is None else (before.create_time, _entry(before.key))
        marks, more = await newest(read, runs, before=start, limit=limit)
        return [ListedDelivery(time, _key_of(member)) for time, member in marks], more

    async def read(self, keys: Sequence[DeliveryKey]) -> list[WebhookDelivery | None]:
        """See `shared.ports.Deliveries.read`."""
        replies = await self._store.call_all(("HGET", self._layout.hooks(key.task_id), _field(key)) for key in keys)
        return [None if body is None else decode_delivery(key, body) for key, body in zip(keys, replies, strict=True)]

    async def of_task(self, task_id: str) -> list[WebhookDelivery]:
        """See `shared.ports.Deliveries.of_task`."""
        reply = await self._store.call("HGETALL", self._layout.hooks(task_id))
        # RESP3 gives a mapping, RESP2 names and values in turn.
        fields = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        return [
            decode_delivery(_key_of(member_of(task_id) + field), body) for field, body in fields if field[:1].isdigit()
        ]

    async def deliver_again(self, tenant: str, deliveries: Sequence[WebhookDelivery], now: Millis) -> bool:
        """See `shared.ports.Deliveries.deliver_again`."""
        first = deliveries[0].key
        partition = partition_of(first.task_id)
        written: list[str | bytes | int] = []
        for delivery in deliveries:
            score = index_score(DeliveryState.PENDING, delivery.create_time)
            written += (delivery.key.sequence, encode_delivery(delivery), _entry(delivery.key), score)
        done = await self._store.run(
            _DELIVER_AGAIN,
            (
                self._layout.lanes(partition),
                self._layout.task(first.task_id),
                self._layout.hooks(first.task_id),
                self._layout.deliveries(partition, tenant),
            ),
            (_member(Lane(first.task_id, first.endpoint)), first.endpoint, now, *written),
        )
        return bool(done)

    async def endpoint_health(self, tenant: str, endpoint: str) -> EndpointHealth:
        """See `shared.ports.Deliveries.endpoint_health`."""
        key = self._layout.endpoint(tenant, endpoint)
        since, gone = await self._store.call("HMGET", key, "failing_since", "gone")
        return EndpointHealth(None if since is None else int(since), gone is not None)

    async def endpoint_failed(self, tenant: str, endpoint: str, *, now: Millis, gone: bool, ttl: Millis) -> None:
        """See `shared.ports.Deliveries.endpoint_failed`."""
        key = self._layout.endpoint(tenant, endpoint)
        await self._store.call_all(
            [
                ("HSETNX", key, "failing_since", now),
                *([("HSET", key, "gone", 1)] if gone else []),
                ("PEXPIRE", key, ttl),
            ]
        )

    async def endpoint_works(self, tenant: str, endpoint: str) -> None:
        """See `shared.ports.Deliveries.endpoint_works`."""
        await self._store.call("DEL", self._layout.endpoint(tenant, endpoint))


def _member(lane: Lane) -> bytes:
    return member_of(lane.task_id) + lane.endpoint.encode()


def _lane_of(member: bytes) -> Lane:
    return Lane(task_id_of(member[:_ID_BYTES]), member[_ID_BYTES:].decode())


def _field(key: DeliveryKey) -> str:
    return f"{key.sequence}/{key.endpoint}"


def _entry(key: DeliveryKey) -> bytes:
    return member_of(key.task_id) + _field(key).encode()


def _key_of(entry: bytes) -> DeliveryKey:
    sequence, _, endpoint = entry[_ID_BYTES:].decode().partition("/")
    return DeliveryKey(task_id_of(entry[:_ID_BYTES]), int(sequence), endpoint)
