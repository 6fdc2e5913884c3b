"""The record: every task, its event log, and where it stands in wakes and indexes, in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared import codec
from shared.adapters.redis.catalogue import RedisCatalogue
from shared.adapters.redis.deliveries import RedisDeliveries
from shared.adapters.redis.layout import Layout, entries, index_score, member_of, task_id_of, trace_of
from shared.adapters.redis.store import RedisStore, Script
from shared.adapters.redis.stored import entry_of, event_of, pairs, task_of, timers_text
from shared.domain.decide import next_wake
from shared.domain.identity import partition_of
from shared.domain.task import TaskPriority
from shared.domain.webhooks import DeliveryState
from shared.ports import Appended, Conflict, StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.adapters.redis.store import Argument, Run
    from shared.domain.task import Millis, Task, TaskEvent, Timers
    from shared.ports import Change, StoreError

_APPEND = Script("append")
_EVENTS = Script("events")
_FORGET = Script("forget")
_RETIME = Script("retime")

UNDELIVERED_LOOK: Millis = 60_000
"""A finished task that is kept for its webhooks only is looked at again after so long."""

LOG_LIMIT = 1_024
"""Above so many events in a row, the older half of a log is thinned: it loses its progress."""

FORGOTTEN_KEPT: Millis = 86_400_000
FORGOTTEN_LIMIT = 1_024
"""For how long, and of how many tasks in each partition, it is known that they were there once."""


class RedisRecord:
    """The record port on one Redis or Valkey server, with the catalogue and the webhook deliveries beside it.

    Promises of durability are the server's: with `appendfsync always` an acknowledged append survives a crash
    of the server, with `everysec` about the last second may be lost, and a failover may lose either way.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "taskcast",
        deadline: float = 3.0,
        connections: int = 8,
        log_limit: int = LOG_LIMIT,
    ) -> None:
        """`url` as redis-py takes it; `prefix` starts every key; `deadline`: seconds for one call.

        `log_limit`: of how many events in a row the end of a log consists at most.
        """
        self._log_limit = log_limit
        self._store = RedisStore(url, deadline=deadline, connections=connections)
        self._layout = Layout(prefix)
        self.catalogue = RedisCatalogue(self._store, self._layout, self)
        self.deliveries = RedisDeliveries(self._store, self._layout)

    async def append(self, change: Change) -> Appended | Conflict:
        """See `shared.ports.Record.append`."""
        (answer,) = await self.append_all((change,))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def append_all(self, changes: Sequence[Change]) -> list[Appended | Conflict | StoreError]:
        """See `shared.ports.Record.append_all`."""
        replies = await self._evaluate([self._appending(change) for change in changes])
        return [_appended(change, reply) for change, reply in zip(changes, replies, strict=True)]

    async def retime(self, tasks: Sequence[tuple[Task, Timers]]) -> None:
        """See `shared.ports.Record.retime`."""
        runs: list[Run] = []
        for task, timers in tasks:
            wake = next_wake(task, timers)
            if wake is not None:
                keys = (self._layout.task(task.id), self._layout.wakes(partition_of(task.id)))
                runs.append((keys, (task.sequence, timers_text(timers), member_of(task.id), wake)))
        await self._store.run_all(_RETIME, runs)

    async def read(self, task_id: str, *, payload: bool = True, result: bool = True) -> Task | None:
        """See `shared.ports.Record.read`."""
        (task,) = await self.read_many((task_id,), payload=payload, result=result)
        return task

    async def read_many(
        self, task_ids: Sequence[str], *, payload: bool = False, result: bool = False
    ) -> list[Task | None]:
        """See `shared.ports.Record.read_many`."""
        wanted = ["timers", "asked", "life"] + ["payload"] * payload + ["result"] * result
        replies = await self._store.call_all(("HMGET", self._layout.task(task_id), *wanted) for task_id in task_ids)
        return [
            None if asked is None else task_of(asked, b"".join(piece or b"" for piece in rest), timers)
            for timers, asked, *rest in replies
        ]

    async def read_sequence(self, task_id: str) -> int:
        """See `shared.ports.Record.read_sequence`."""
        (sequence,) = await self.read_sequences((task_id,))
        return sequence

    async def read_sequences(self, task_ids: Sequence[str]) -> list[int]:
        """See `shared.ports.Record.read_sequences`."""
        replies = await self._store.call_all(("HGET", self._layout.task(task_id), "sequence") for task_id in task_ids)
        return [int(sequence or 0) for sequence in replies]

    async def read_events(self, task_id: str, *, after: int, limit: int) -> list[TaskEvent]:
        """See `shared.ports.Record.read_events`."""
        keys = (self._layout.task(task_id), self._layout.log(task_id))
        (stored,) = await self._store.run_all(_EVENTS, [(keys, (after, limit))])
        events = [event_of(task_id, entry) for entry in stored]
        return [event for event in events if event.sequence > after][:limit]

    async def first_kept(self, task_id: str) -> int:
        """See `shared.ports.Record.first_kept`."""
        return int(await self._store.call("HGET", self._layout.task(task_id), "first") or 1)

    async def due(self, partitions: Iterable[str], *, until: Millis, limit: int) -> list[tuple[str, Millis]]:
        """See `shared.ports.Record.due`."""
        replies = await self._store.call_all(
            ("ZRANGE", self._layout.wakes(partition), "-inf", until, "BYSCORE", "LIMIT", 0, limit, "WITHSCORES")
            for partition in partitions
        )
        return [(task_id_of(member), int(score)) for reply in replies for member, score in pairs(reply)]

    async def unfinished(self, partition: str) -> list[str]:
        """See `shared.ports.Record.unfinished`."""
        queues = await self._store.call("SMEMBERS", self._layout.queues(partition))
        lines = [
            self._layout.line(partition, queue.decode(), priority) for queue in queues for priority in TaskPriority
        ]
        replies = await self._store.call_all(("ZRANGE", line, 0, -1, "WITHSCORES") for line in lines)
        standing = sorted((score, member) for reply in replies for member, score in pairs(reply))
        return [task_id_of(member) for _, member in standing]

    async def forget(self, partitions: Iterable[str], *, until: Millis, limit: int) -> int:
        """See `shared.ports.Record.forget`."""
        replies = await self._store.call_all(
            ("ZRANGE", self._layout.expiries(partition), "-inf", until, "BYSCORE", "LIMIT", 0, limit)
            for partition in partitions
        )
        task_ids = [task_id_of(member) for reply in replies for member in reply]
        found = dict(zip(task_ids, await self.read_many(task_ids), strict=True))
        # What somebody else removed by hand must not stand in the way of the others.
        strays = await self._store.call_all(
            ("ZREM", self._layout.expiries(partition_of(task_id)), member_of(task_id))
            for task_id, task in found.items()
            if task is None
        )
        runs = [self._forgetting(task, until) for task in found.values() if task is not None]
        return sum(strays + await self._store.run_all(_FORGET, runs))

    async def has_expired(self, tenant: str, task_id: str) -> bool:
        """See `shared.ports.Record.has_expired`."""
        (expired,) = await self.have_expired(tenant, (task_id,))
        return expired

    async def have_expired(self, tenant: str, task_ids: Sequence[str]) -> list[bool]:
        """See `shared.ports.Record.have_expired`."""
        replies = await self._store.call_all(
            ("ZSCORE", self._layout.forgotten(partition_of(task_id)), trace_of(tenant, task_id)) for task_id in task_ids
        )
        return [score is not None for score in replies]

    async def enrol(self, group: str, member: str, *, ttl: Millis) -> list[str]:
        """See `shared.ports.Record.enrol`."""
        key = self._layout.members(group)
        now = await self.server_time()
        await self._store.call("ZADD", key, now + ttl, member)
        await self._store.call("ZREMRANGEBYSCORE", key, "-inf", now)
        return sorted(entry.decode() for entry in await self._store.call("ZRANGE", key, 0, -1))

    async def leave(self, group: str, member: str) -> None:
        """See `shared.ports.Record.leave`."""
        await self._store.call("ZREM", self._layout.members(group), member)

    async def server_time(self) -> Millis:
        """See `shared.ports.Record.server_time`."""
        seconds, micros = await self._store.call("TIME")
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def close(self) -> None:
        """Answer every caller, then let go of the connections."""
        await self._store.close()

    async def _evaluate(self, appends: Sequence[Run]) -> list[Any]:
        return await self._store.run_each(_APPEND, appends)

    def _appending(self, change: Change) -> Run:
        """Keys and arguments of `append.lua`."""
        task = change.task
        fields: list[Argument] = ["timers", timers_text(task.timers)]
        if change.events:
            fields += ["life", codec.encode_life(task)]
        if change.expected_sequence == 0:
            fields += ["asked", codec.encode_asked(task), "fingerprint", change.fingerprint]
            if task.spec.payload is not None:
                fields += ["payload", codec.encode_payload(task.spec.payload)]
        if task.result is not None:
            fields += ["result", codec.encode_result(task.result)]
        shelf = self._layout.shelf(task)
        standing = entries(task, change.events, shelf)
        keys = (
            self._layout.task(task.id),
            self._layout.log(task.id),
            shelf.queues,
            shelf.lanes,
            shelf.deliveries,
            *(entry.key for entry in standing),
        )
        return keys, (
            change.expected_sequence,
            member_of(task.id),
            task.spec.queue,
            int(change.want_payload),
            len(change.events),
            len(standing),
            self._log_limit,
            *(entry_of(event) for event in change.events),
            *(entry.argument() for entry in standing),
            *_due(change),
            *fields,
        )

    def _forgetting(self, task: Task, now: Millis) -> Run:
        """Keys and arguments of `forget.lua`."""
        shelf = self._layout.shelf(task)
        others = (shelf.changed, *shelf.indexes)
        keys = (
            self._layout.task(task.id),
            self._layout.log(task.id),
            shelf.expiries,
            shelf.queues,
            self._layout.hooks(task.id),
            shelf.deliveries,
            self._layout.forgotten(partition_of(task.id)),
            *others,
            *shelf.lines.values(),
        )
        return keys, (
            member_of(task.id),
            task.spec.queue,
            now,
            len(others),
            now + UNDELIVERED_LOOK,
            trace_of(task.tenant, task.id),
            FORGOTTEN_LIMIT,
            FORGOTTEN_KEPT,
        )


def _due(change: Change) -> list[Argument]:
    """The webhook deliveries that a change calls for, as `append.lua` takes them."""
    if not change.deliveries:
        return [0]
    time = change.task.update_time
    names = [f"{sequence}/{endpoint}" for sequence, endpoint in change.deliveries]
    return [len(names), time, index_score(DeliveryState.PENDING, time), *names]


def _appended(change: Change, reply: Any) -> Appended | Conflict | StoreError:
    """What the reply of `append.lua` says. Raises what is no trouble of the store but a fault of ours."""
    if isinstance(reply, StoreUnavailableError | StoreFullError):
        return reply
    if isinstance(reply, BaseException):
        raise reply
    if reply[0] == 1:
        return Appended(codec.decode_payload(reply[1]) if change.want_payload else None)
    _, sequence, asked, life, timers, fingerprint = reply
    return Conflict(task_of(asked, life, timers) if sequence else None, fingerprint)
