"""The record: every task, its event log and its wake, in Redis.

All keys of a task carry its partition as their hash tag, so an append touches one slot of a Redis Cluster.
"""

from __future__ import annotations

import hashlib
import os
from importlib import resources
from typing import TYPE_CHECKING, Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from shared import codec
from shared.adapters.redis.batch import CallBatcher
from shared.domain.decide import next_wake
from shared.domain.identity import partition_of
from shared.domain.task import Timers
from shared.ports import Appended, Conflict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.domain.task import Millis, Task, TaskEvent
    from shared.ports import Change

_APPEND = resources.files(__package__).joinpath("lua/append.lua").read_bytes()
_APPEND_SHA = hashlib.sha1(_APPEND, usedforsecurity=False).hexdigest()

LINGER: Millis = 10_000
"""A finished task stays at least so long, that whoever follows it can read its end."""

_APPEND_NAME_BYTES = 8
"""Random bytes before each stored event: they tell a repeated sending of an append from another like it."""


class RedisRecord:
    """The record port on one Redis or Valkey server.

    Promises of durability are the server's: with `appendfsync always` an acknowledged append survives a crash
    of the server, with `everysec` about the last second may be lost, and a failover may lose either way.
    """

    def __init__(self, url: str, *, prefix: str = "taskcast", deadline: float = 3.0, connections: int = 8) -> None:
        """`url` as redis-py takes it; `prefix` starts every key; `deadline`: seconds for one call."""
        self._prefix = prefix
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=deadline,
            # The batcher bounds a whole exchange; a timer for each read would cost more than the read.
            socket_timeout=None,
            socket_connect_timeout=deadline,
            retry=Retry(NoBackoff(), 0),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            client_name="taskcast",
        )
        self._batcher = CallBatcher(self._pool, deadline=deadline)

    async def append(self, change: Change) -> Appended | Conflict:
        """See `shared.ports.Record.append`."""
        task = change.task
        wake = next_wake(task)
        fields: list[str | bytes] = ["timers", _encode_timers(task.timers)]
        if change.events:
            fields += ["life", codec.encode_life(task)]
        if change.expected_sequence == 0:
            fields += ["asked", codec.encode_asked(task), "fingerprint", change.fingerprint]
            if task.spec.payload is not None:
                fields += ["payload", codec.encode_payload(task.spec.payload)]
        if task.result is not None:
            fields += ["result", codec.encode_result(task.result)]
        reply = await self._evaluate(
            (self._task_key(task.id), self._log_key(task.id), self._wakes_key(partition_of(task.id))),
            (
                change.expected_sequence,
                task.id,
                "" if wake is None else wake,
                max(task.spec.retention, LINGER) if task.status.is_terminal else "",
                int(change.want_payload),
                len(change.events),
                *(os.urandom(_APPEND_NAME_BYTES) + codec.encode_log_event(event) for event in change.events),
                *fields,
            ),
        )
        if reply[0] == 1:
            return Appended(codec.decode_payload(reply[1]) if change.want_payload else None)
        _, sequence, asked, life, timers, fingerprint = reply
        return Conflict(_decode(asked, life, timers) if sequence else None, fingerprint)

    async def read(self, task_id: str, *, payload: bool = True, result: bool = True) -> Task | None:
        """See `shared.ports.Record.read`."""
        (task,) = await self.read_many((task_id,), payload=payload, result=result)
        return task

    async def read_many(
        self, task_ids: Sequence[str], *, payload: bool = False, result: bool = False
    ) -> list[Task | None]:
        """See `shared.ports.Record.read_many`."""
        wanted = ["timers", "asked", "life"] + ["payload"] * payload + ["result"] * result
        replies = await self._batcher.call_all(("HMGET", self._task_key(task_id), *wanted) for task_id in task_ids)
        return [
            None if asked is None else _decode(asked, b"".join(piece or b"" for piece in rest), timers)
            for timers, asked, *rest in replies
        ]

    async def read_sequence(self, task_id: str) -> int:
        """See `shared.ports.Record.read_sequence`."""
        (sequence,) = await self.read_sequences((task_id,))
        return sequence

    async def read_sequences(self, task_ids: Sequence[str]) -> list[int]:
        """See `shared.ports.Record.read_sequences`."""
        replies = await self._batcher.call_all(("HGET", self._task_key(task_id), "sequence") for task_id in task_ids)
        return [int(sequence or 0) for sequence in replies]

    async def read_events(self, task_id: str, *, after: int, limit: int) -> list[TaskEvent]:
        """See `shared.ports.Record.read_events`."""
        stored = await self._batcher.call("LRANGE", self._log_key(task_id), after, after + limit - 1)
        return [codec.decode_event(entry[_APPEND_NAME_BYTES:]) for entry in stored]

    async def due(self, partitions: Iterable[str], *, until: Millis, limit: int) -> list[tuple[str, Millis]]:
        """See `shared.ports.Record.due`."""
        replies = await self._batcher.call_all(
            ("ZRANGE", self._wakes_key(partition), "-inf", until, "BYSCORE", "LIMIT", 0, limit, "WITHSCORES")
            for partition in partitions
        )
        return [(member.decode(), int(score)) for reply in replies for member, score in _pairs(reply)]

    async def unfinished(self, partition: str) -> list[str]:
        """See `shared.ports.Record.unfinished`."""
        reply = await self._batcher.call("ZRANGE", self._wakes_key(partition), 0, -1)
        return [member.decode() for member in reply]

    async def enrol(self, group: str, member: str, *, ttl: Millis) -> list[str]:
        """See `shared.ports.Record.enrol`."""
        key = f"{self._prefix}:members:{group}"
        now = await self.server_time()
        await self._batcher.call("ZADD", key, now + ttl, member)
        await self._batcher.call("ZREMRANGEBYSCORE", key, "-inf", now)
        return sorted(entry.decode() for entry in await self._batcher.call("ZRANGE", key, 0, -1))

    async def leave(self, group: str, member: str) -> None:
        """See `shared.ports.Record.leave`."""
        await self._batcher.call("ZREM", f"{self._prefix}:members:{group}", member)

    async def server_time(self) -> Millis:
        """See `shared.ports.Record.server_time`."""
        seconds, micros = await self._batcher.call("TIME")
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def close(self) -> None:
        """Answer every caller, then let go of the connections."""
        await self._batcher.close()
        await self._pool.aclose()

    async def _evaluate(self, keys: tuple[str, ...], arguments: tuple[str | bytes | int, ...]) -> Any:
        call = (len(keys), *keys, *arguments)
        try:
            return await self._batcher.call("EVALSHA", _APPEND_SHA, *call)
        except exceptions.NoScriptError:
            # The server is new or has been restarted. EVAL runs the script and keeps it for the next time.
            return await self._batcher.call("EVAL", _APPEND, *call)

    def _task_key(self, task_id: str) -> str:
        return f"{self._prefix}:{{{partition_of(task_id)}}}:task:{task_id}"

    def _log_key(self, task_id: str) -> str:
        return f"{self._prefix}:{{{partition_of(task_id)}}}:events:{task_id}"

    def _wakes_key(self, partition: str) -> str:
        return f"{self._prefix}:{{{partition}}}:wakes"


def _pairs(reply: list[Any]) -> list[tuple[bytes, float]]:
    """Members and scores, which RESP3 sends as pairs and RESP2 as one flat list."""
    if reply and isinstance(reply[0], (list, tuple)):
        return [(member, float(score)) for member, score in reply]
    return [(reply[i], float(reply[i + 1])) for i in range(0, len(reply), 2)]


def _encode_timers(timers: Timers) -> str:
    return f"{timers.dispatch_at}:{timers.dispatches}:{timers.lease_expires}"


def _decode(asked: bytes, life: bytes, timers: bytes) -> Task:
    dispatch_at, dispatches, lease_expires = timers.split(b":")
    return codec.decode_task(
        (asked, life),
        Timers(dispatch_at=int(dispatch_at), dispatches=int(dispatches), lease_expires=int(lease_expires)),
    )
