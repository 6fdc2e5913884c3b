"""How the record lies in Redis: the names of its keys, and the sorted sets that a task stands in.

All keys of a task carry its partition as their hash tag, so whatever changes it touches one slot of a Redis Cluster.
A task stands in each sorted set under the 16 bytes of its id, which take a third less memory than its text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from shared.domain.decide import kept_until, next_wake
from shared.domain.identity import partition_of
from shared.domain.task import EventType, TaskPriority

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.domain.task import Millis, Task, TaskEvent, TaskStatus
    from shared.domain.webhooks import DeliveryState

STATUS_SPAN = 1 << 44
"""Scores of an index are `status * STATUS_SPAN + time`: one set holds every status, each in the order of time.

2**44 ms reach to the year 2527, and seven statuses of them are far from 2**53, up to where a score is exact.
"""

CHANGED_KEPT: Millis = 300_000
"""For how long it is remembered that a task changed."""

RATE_WINDOW: Millis = 60_000
"""For how long it is remembered that a task ended."""


SHELVES_KEPT = 16_384
"""Of how many kinds of tasks the names of keys are remembered: sixty-four in each partition."""


class Entry(NamedTuple):
    """A task's place in one sorted set: its score, or None to take it out.

    `suffix` is put behind the task's member. With the entry goes what scores below `floor`, and after `ttl` without
    another entry the whole set.
    """

    key: str
    score: Millis | None
    floor: Millis | None = None
    ttl: Millis | None = None
    suffix: str = ""

    def argument(self) -> str | int:
        """The entry, its key aside, as `append.lua` takes it."""
        score = "" if self.score is None else self.score
        if self.floor is None and self.ttl is None and not self.suffix:
            return score
        floor, ttl = ("" if part is None else part for part in (self.floor, self.ttl))
        return f"{score} {floor} {ttl} {self.suffix}"


def member_of(task_id: str) -> bytes:
    """A task's id as sorted sets hold it. Its order is that of the text."""
    return bytes.fromhex(task_id.replace("-", ""))


def task_id_of(member: bytes) -> str:
    """The id that `member_of` was given."""
    text = member.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def trace_of(tenant: str, task_id: str) -> bytes:
    """What is remembered of a task that was removed: only its tenant can ask for it."""
    return member_of(task_id) + hashlib.sha256(tenant.encode()).digest()[:8]


def index_score(status: TaskStatus | DeliveryState, time: Millis) -> int:
    """The score of a task or delivery with this status in an index that is ordered by this time."""
    return status * STATUS_SPAN + time


@dataclass(frozen=True, slots=True)
class Shelf:
    """The keys, beside its own two, that a task shares with others of its partition, tenant, type and queue."""

    wakes: str
    """Sorted set: tasks that are not terminal, by their next wake."""
    expiries: str
    """Sorted set: terminal tasks, by the time until which they are kept."""
    changed: str
    """Sorted set: the tenant's tasks by the time of their last event, if that was lately."""
    indexes: tuple[str, ...]
    """Sorted sets: the tenant's tasks, of this type, this queue or both, by status and time of creation."""
    queues: str
    """Set: the names of queues that may have a task in this partition."""
    lines: Mapping[TaskPriority, str]
    """Sorted sets: the queue's tasks that are not terminal, by status and the time from which they may run."""
    ended: str
    """Sorted set: tasks that ended lately, each with the name of its queue behind it, by the time of their end."""
    lanes: str
    """Sorted set: lanes of webhook deliveries, by the time at which they are to be looked at."""
    deliveries: str
    """Sorted set: the tenant's webhook deliveries, by state and time of their event."""


class Layout:
    """The names of keys under one prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        # Most tasks are of few kinds, and to write a dozen names for each append takes longer than to find them.
        self._shelf = lru_cache(maxsize=SHELVES_KEPT)(self._new_shelf)

    def of_partition(self, partition: str, name: str) -> str:
        """A key of a partition."""
        return f"{self._prefix}:{{{partition}}}:{name}"

    def task(self, task_id: str) -> str:
        """Hash: the task."""
        return f"{self._prefix}:{{{partition_of(task_id)}}}:task:{task_id}"

    def log(self, task_id: str) -> str:
        """List: the task's events."""
        return f"{self._prefix}:{{{partition_of(task_id)}}}:events:{task_id}"

    def hooks(self, task_id: str) -> str:
        """Hash: what became of the task's webhook deliveries, and how far each of its lanes has come."""
        return f"{self._prefix}:{{{partition_of(task_id)}}}:deliveries:{task_id}"

    def lanes(self, partition: str) -> str:
        """See `Shelf.lanes`."""
        return self.of_partition(partition, "webhooks")

    def deliveries(self, partition: str, tenant: str) -> str:
        """See `Shelf.deliveries`."""
        return self.of_partition(partition, f"delivered:{tenant}")

    def endpoint(self, tenant: str, endpoint: str) -> str:
        """Hash: since when an endpoint of webhooks has done nothing but fail."""
        name = hashlib.blake2b(f"{tenant}\0{endpoint}".encode(), digest_size=16).hexdigest()
        return f"{self._prefix}:endpoint:{name}"

    def wakes(self, partition: str) -> str:
        """See `Shelf.wakes`."""
        return self.of_partition(partition, "wakes")

    def expiries(self, partition: str) -> str:
        """See `Shelf.expiries`."""
        return self.of_partition(partition, "expiries")

    def forgotten(self, partition: str) -> str:
        """Sorted set: tasks that were removed lately, by the time until which they were kept."""
        return self.of_partition(partition, "forgotten")

    def index(self, partition: str, tenant: str, *, type_: str, queue: str) -> str:
        """See `Shelf.indexes`; an empty type or queue stands for any."""
        # Neither a type nor a queue has a slash in it.
        return self.of_partition(partition, f"index:{type_}/{queue}/{tenant}")

    def changed(self, partition: str, tenant: str) -> str:
        """See `Shelf.changed`."""
        return self.of_partition(partition, f"changed:{tenant}")

    def queues(self, partition: str) -> str:
        """See `Shelf.queues`."""
        return self.of_partition(partition, "queues")

    def ended(self, partition: str) -> str:
        """See `Shelf.ended`."""
        return self.of_partition(partition, "ended")

    def line(self, partition: str, queue: str, priority: TaskPriority) -> str:
        """See `Shelf.lines`."""
        return self.of_partition(partition, f"line:{priority.name.lower()}:{queue}")

    def members(self, group: str) -> str:
        """Sorted set: the members of a group, by the time at which their membership ends."""
        return f"{self._prefix}:members:{group}"

    def worker(self, name: str) -> str:
        """String: what a worker reported last."""
        return f"{self._prefix}:worker:{name}"

    def shelf(self, task: Task) -> Shelf:
        """Where the task stands."""
        return self._shelf(partition_of(task.id), task.tenant, task.spec.type, task.spec.queue)

    def _new_shelf(self, partition: str, tenant: str, type_: str, queue: str) -> Shelf:
        return Shelf(
            wakes=self.wakes(partition),
            expiries=self.expiries(partition),
            changed=self.changed(partition, tenant),
            indexes=tuple(
                self.index(partition, tenant, type_=each_type, queue=each_queue)
                for each_type in ("", type_)
                for each_queue in ("", queue)
            ),
            queues=self.queues(partition),
            lines={priority: self.line(partition, queue, priority) for priority in TaskPriority},
            ended=self.ended(partition),
            lanes=self.lanes(partition),
            deliveries=self.deliveries(partition, tenant),
        )


def entries(task: Task, events: Sequence[TaskEvent], shelf: Shelf) -> list[Entry]:
    """Where the task stands from now on, as far as `events`, its latest, may have changed that."""
    standing = [Entry(shelf.wakes, next_wake(task))]
    if not events:
        return standing
    floor = task.update_time - CHANGED_KEPT if events[0].type is EventType.SUBMITTED else None
    standing.append(Entry(shelf.changed, task.update_time, floor))
    if all(event.type is EventType.PROGRESSED for event in events):
        return standing
    score = index_score(task.status, task.create_time)
    standing += [Entry(key, score) for key in shelf.indexes]
    line = shelf.lines[task.spec.priority]
    if not task.status.is_terminal:
        since = max(task.create_time, task.not_before)
        return [*standing, Entry(line, index_score(task.status, since))]
    end = task.update_time
    return [
        *standing,
        Entry(line, None),
        Entry(shelf.ended, end, end - RATE_WINDOW, RATE_WINDOW, task.spec.queue),
        Entry(shelf.expiries, kept_until(task)),
    ]
