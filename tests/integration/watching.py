"""A gateway's watches on a real record, and a broadcast that is up to the test."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import uuid_utils

from gateway_service.watch import patrol as patrol_module
from gateway_service.watch.follow import FollowTask
from gateway_service.watch.hub import EventHub
from gateway_service.watch.matching import FollowMatching
from gateway_service.watch.named import FollowTasks
from gateway_service.watch.patrol import Patrol
from gateway_service.watch.updates import Heartbeat
from shared.adapters.local import LocalBroker
from shared.adapters.redis import RedisRecord
from shared.adapters.redis.record import LOG_LIMIT
from shared.clock import RecordClock
from shared.domain.commands import Cancel, Claim, Fail, ReportProgress, Retry, Submit, Succeed
from shared.domain.task import AttemptTerms, Task, TaskError, TaskEvent, TaskProgress, TaskSpec
from shared.journal import Done, Journal
from shared.json_values import encode_json
from shared.lifecycle import repeat
from tests.deadlines import eventually_async
from tests.stack import delete_keys

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Sequence

    import pytest

    from gateway_service.watch.updates import Update
    from shared.domain.commands import Command
    from shared.domain.filters import TaskFilter
    from shared.domain.task import Millis

    Broadcast = Callable[[str, bytes], None]

TENANT = "default"
DONE = encode_json("done", "result")
LATE = 1_500


@dataclass(slots=True)
class Seen:
    """What a watch has sent so far."""

    updates: list[Update] = field(default_factory=list)

    async def send(self, update: Update) -> None:
        self.updates.append(update)

    @property
    def events(self) -> list[TaskEvent]:
        return [update for update in self.updates if isinstance(update, TaskEvent)]

    @property
    def snapshots(self) -> list[Task]:
        return [update for update in self.updates if isinstance(update, Task)]

    def sequences(self) -> dict[str, list[int]]:
        """The numbers of the events of each task, in the order they came."""
        found: dict[str, list[int]] = {}
        for event in self.events:
            found.setdefault(event.task_id, []).append(event.sequence)
        return found


class ShiftedClock(RecordClock):
    """The record's clock, set ahead or back."""

    shift: Millis = 0

    def now(self) -> Millis:
        return super().now() + self.shift


@dataclass
class World:
    """A record, a broker within the process, and a gateway's watches."""

    record: RedisRecord
    clock: ShiftedClock
    broker: LocalBroker
    hub: EventHub
    patrol: Patrol
    follow: FollowTask
    follow_tasks: FollowTasks
    follow_matching: FollowMatching

    def journal(self, broadcast: Broadcast | None = None) -> Journal:
        """The path by which tasks change; `broadcast` stands between it and the broker."""
        return Journal(self.record, self.clock, broadcast or self.broker.broadcast)

    async def submitted(self, journal: Journal | None = None, **spec: object) -> str:
        """A new task's id."""
        task_id = str(uuid_utils.uuid7())
        fields = {"type": "any", "payload": encode_json(None, "payload"), "retention": 60_000, **spec}
        submit = Submit(task_id=task_id, tenant=TENANT, spec=TaskSpec(**fields))  # type: ignore[arg-type]
        await (journal or self.journal()).create(task_id, submit)
        return task_id

    async def watch(self, task_id: str, after: int | None = 0) -> list[Update]:
        """All updates of a watch of one task, heartbeats aside, once it has ended."""
        seen = Seen()
        async with asyncio.timeout(20):
            await self.follow(TENANT, task_id, after=after, heartbeat=60, send=seen.send)
        return [update for update in seen.updates if not isinstance(update, Heartbeat)]

    @asynccontextmanager
    async def matching(self, wanted: TaskFilter, *, tenant: str = TENANT) -> AsyncIterator[Seen]:
        """What a watch by filter sends, from the moment that it is live until the block is left."""
        seen = Seen()
        watch = asyncio.create_task(self.follow_matching(tenant, wanted, heartbeat=60, send=seen.send))
        try:
            await until(lambda: bool(seen.updates) or watch.done(), "the watch to be live")
            assert seen.updates[:1] == [Heartbeat(0)]
            yield seen
            assert not watch.done(), watch.exception()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch


@asynccontextmanager
async def opened_world(
    redis_url: str, key_prefix: str, *, log_limit: int = LOG_LIMIT, kind: type[RedisRecord] = RedisRecord
) -> AsyncIterator[World]:
    """A world whose patrol is on its way; a log with more events in a row than `log_limit` is thinned."""
    async with AsyncExitStack() as stack:
        stack.callback(delete_keys, redis_url, key_prefix)
        record = kind(redis_url, prefix=key_prefix, log_limit=log_limit)
        stack.push_async_callback(record.close)
        clock = ShiftedClock(record)
        await clock.synchronise()
        broker = LocalBroker()
        stack.push_async_callback(broker.close)
        hub = EventHub(broker, most_watches=1_000)
        await hub.start()
        stack.push_async_callback(hub.close)
        patrol = Patrol(record, record.catalogue, hub, clock, late=LATE)
        walk = asyncio.create_task(repeat("patrol", 0.1, patrol.walk))
        stack.callback(walk.cancel)
        yield World(
            record,
            clock,
            broker,
            hub,
            patrol,
            FollowTask(record, hub),
            FollowTasks(record, hub),
            FollowMatching(record, hub, patrol),
        )


def look_often(monkeypatch: pytest.MonkeyPatch, *, every: float = 0.2) -> None:
    """Have the patrol look so often, in seconds."""
    monkeypatch.setattr(patrol_module, "LOOK_SECONDS", every)
    monkeypatch.setattr(patrol_module, "STEP_SECONDS", 0.05)


def unreliable(world: World, dice: random.Random) -> Broadcast:
    """A broadcast that loses, repeats, delays and shuffles events."""
    held: list[tuple[str, bytes]] = []

    def broadcast(key: str, body: bytes) -> None:
        held.extend([(key, body)] * dice.choice([0, 1, 1, 2]))
        if dice.random() < 0.4:
            dice.shuffle(held)
            for message in held:
                world.broker.broadcast(*message)
            held.clear()

    return broadcast


def a_life(dice: random.Random) -> list[Command]:
    """What happens to a task from its first claim, or without one, to its end."""
    commands: list[Command] = []
    terms = AttemptTerms(max_attempts=3, initial_backoff=0)
    attempts = dice.choice([0, 1, 1, 1, 2, 3])
    for attempt in range(1, attempts + 1):
        commands.append(Claim(worker="the test", terms=terms, lease=60_000, attempt=attempt))
        commands += [
            ReportProgress(attempt=attempt, progress=TaskProgress(completed=number), lease=60_000)
            for number in range(dice.randrange(6))
        ]
        if attempt < attempts:
            commands.append(Retry(attempt=attempt, error=TaskError(code="AGAIN", message="again")))
    if not attempts:
        return [Cancel(reason="not needed")]
    ends: list[Command] = [
        Succeed(attempt=attempts, result=DONE),
        Fail(attempt=attempts, error=TaskError(code="NO", message="no")),
        Cancel(reason="enough"),
    ]
    return [*commands, dice.choice(ends)]


async def lived(
    journal: Journal, task_id: str, commands: Sequence[Command], pause: Callable[[], float] | None = None
) -> Task:
    """The task after these commands."""
    known: Task | None = None
    for command in commands:
        done = await journal.execute(task_id, command, known=known)
        assert isinstance(done, Done), done
        known = done.task
        # The watches have their turn; where the test says so, time goes by as in a life.
        await asyncio.sleep(pause() if pause else 0)
    assert known is not None
    return known


def straight(progresses: int) -> list[Claim | ReportProgress | Succeed]:
    """A life that succeeds at once, after so many reports."""
    return [
        Claim(worker="the test", terms=AttemptTerms(), lease=60_000),
        *(
            ReportProgress(attempt=1, progress=TaskProgress(completed=number), lease=60_000)
            for number in range(progresses)
        ),
        Succeed(attempt=1, result=DONE),
    ]


def silent(_key: str, _body: bytes) -> None:
    """A broadcast that reaches nobody."""


async def until(condition: Callable[[], bool], what: str, *, within: float = 15) -> None:
    async def holds() -> bool:
        return condition()

    await eventually_async(holds, within=within, what=what)
