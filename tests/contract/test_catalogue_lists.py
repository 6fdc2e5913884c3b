"""What `shared.ports.Catalogue` promises of listings, on a plain server and on a Redis Cluster."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.domain.commands import Cancel, Fail, HandBack, Succeed
from shared.domain.filters import TaskFilter
from shared.domain.submission import LONGEST_DURATION
from shared.domain.task import TaskError, TaskSpec, TaskStatus
from shared.ports import Place
from tests.contract.changes import (
    CLAIM,
    NOW,
    RESULT,
    SPEC,
    appended,
    change,
    new_task_id,
    progress,
    shown,
    submission,
    without_values,
)

if TYPE_CHECKING:
    from shared.adapters.redis import RedisRecord
    from shared.domain.commands import Command
    from shared.domain.task import Task
    from shared.ports import Change

pytestmark = pytest.mark.integration

KEPT = replace(SPEC, retention=LONGEST_DURATION)
FAIL = Fail(attempt=1, error=TaskError(code="BROKEN", message="It broke."))
LIVES: tuple[tuple[Command, ...], ...] = (
    (),
    (CLAIM,),
    (CLAIM, progress(50)),
    (CLAIM, HandBack(attempt=1)),
    (CLAIM, Succeed(attempt=1, result=RESULT)),
    (CLAIM, FAIL),
    (Cancel(),),
)


async def lived(record: RedisRecord, created: Change, *commands: Command) -> Task:
    """A task after some changes, one append for each, as a listing shows it."""
    task = await appended(record, created)
    for command in commands:
        task = await appended(record, change(task, command, now=task.update_time))
    return shown(without_values(task))


async def population(record: RedisRecord, size: int) -> list[Task]:
    """Tasks of every kind, some of them recorded in the same millisecond, newest first."""
    chance = random.Random(size)
    tasks = []
    for _ in range(size):
        spec = replace(
            KEPT,
            type=chance.choice(["report.render", "mail", "mail:send"]),
            queue=chance.choice(["default", "slow"]),
            labels=chance.choice([{}, {"customer": "acme"}, {"customer": "other", "urgent": ""}]),
        )
        created = submission(new_task_id(), spec=spec, now=NOW + chance.randrange(size // 3))
        tasks.append(await lived(record, created, *chance.choice(LIVES)))
    return sorted(tasks, key=lambda task: (task.create_time, task.id), reverse=True)


async def listed(record: RedisRecord, wanted: TaskFilter, *, limit: int = 50, tenant: str = "acme") -> list[Task]:
    """All pages of a listing."""
    tasks: list[Task] = []
    before = None
    while True:
        page = await record.catalogue.newest(tenant, wanted, before=before, limit=limit)
        assert len(page.tasks) <= limit
        tasks += page.tasks
        if page.next is None:
            return tasks
        assert before is None or page.next < before, "each page goes on"
        before = page.next


STATUSES = (
    frozenset[TaskStatus](),
    frozenset({TaskStatus.WAITING}),
    frozenset({TaskStatus.SUCCESS}),
    frozenset({TaskStatus.PROCESSING, TaskStatus.FAILED}),
    frozenset({TaskStatus.TIMEOUT}),
)
PERIODS = ((None, None), (NOW + 10, None), (None, NOW + 20), (NOW + 10, NOW + 20), (NOW + 20, NOW + 20))


async def test_a_listing_holds_exactly_what_matches_newest_first_whatever_is_asked_for(record: RedisRecord) -> None:
    tasks = await population(record, 120)
    for statuses, type_, queue, (after, before) in itertools.product(
        STATUSES, ("", "mail", "absent"), ("", "slow"), PERIODS
    ):
        wanted = TaskFilter(statuses=statuses, type=type_, queue=queue, created_after=after, created_before=before)
        assert await listed(record, wanted) == [task for task in tasks if wanted.matches(task)], wanted


@pytest.mark.parametrize("limit", [1, 7, 119, 120, 1_000])
async def test_pages_of_any_size_join_without_hole_or_repeat(record: RedisRecord, limit: int) -> None:
    tasks = await population(record, 120)
    assert await listed(record, TaskFilter(), limit=limit) == tasks
    waiting = TaskFilter(statuses=frozenset({TaskStatus.WAITING}))
    assert await listed(record, waiting, limit=limit) == [task for task in tasks if waiting.matches(task)]


async def test_labels_are_found_though_many_others_lie_between(record: RedisRecord) -> None:
    tasks = await population(record, 120)
    for labels in ({"customer": "acme"}, {"customer": "other", "urgent": ""}, {"customer": "nobody"}):
        wanted = TaskFilter(labels=labels, queue="slow")
        for limit in (1, 50):
            assert await listed(record, wanted, limit=limit) == [task for task in tasks if wanted.matches(task)]


async def test_many_tasks_of_one_partition_and_one_millisecond_are_listed_in_the_order_of_their_ids(
    record: RedisRecord,
) -> None:
    ids = sorted((new_task_id("42") for _ in range(30)), reverse=True)
    for task_id in random.Random(1).sample(ids, len(ids)):
        await lived(record, submission(task_id, spec=KEPT), *random.Random(task_id).choice(LIVES))
    for limit in (1, 4, 30, 31):
        assert [task.id for task in await listed(record, TaskFilter(), limit=limit)] == ids


async def test_a_task_is_listed_from_the_moment_it_is_recorded_and_under_its_status_of_the_moment(
    record: RedisRecord,
) -> None:
    task = await appended(record, submission(spec=KEPT))
    for command, status in (
        (None, TaskStatus.WAITING),
        (CLAIM, TaskStatus.PROCESSING),
        (progress(10), TaskStatus.PROCESSING),
        (HandBack(attempt=1), TaskStatus.WAITING),
        (CLAIM, TaskStatus.PROCESSING),
        (Succeed(attempt=2, result=RESULT), TaskStatus.SUCCESS),
    ):
        if command is not None:
            task = await appended(record, change(task, command))
        for other in TaskStatus:
            found = await listed(record, TaskFilter(statuses=frozenset({other}), type=SPEC.type))
            assert found == ([shown(without_values(task))] if other is status else [])


async def test_a_page_goes_on_where_the_one_before_ended_though_tasks_arrive_and_change(record: RedisRecord) -> None:
    old = await population(record, 30)
    first = await record.catalogue.newest("acme", TaskFilter(), before=None, limit=10)
    assert list(first.tasks) == old[:10]
    await lived(record, submission(spec=KEPT, now=NOW + 1_000))
    moved = next(task for task in old[10:] if not task.status.is_terminal)
    await appended(record, change(moved, Cancel()))
    second = await record.catalogue.newest("acme", TaskFilter(), before=first.next, limit=10)
    assert [task.id for task in second.tasks] == [task.id for task in old[10:20]]


async def test_a_task_that_is_gone_marks_its_place_all_the_same(record: RedisRecord) -> None:
    first, second = [await lived(record, submission(spec=KEPT, now=NOW + n)) for n in (1, 0)]
    page = await record.catalogue.newest("acme", TaskFilter(), before=Place(NOW + 1, first.id), limit=1)
    assert list(page.tasks) == [second]
    absent = Place(NOW + 1, "00000000-0000-4000-8000-000000000000")
    assert list((await record.catalogue.newest("acme", TaskFilter(), before=absent, limit=1)).tasks) == [second]


async def test_a_tenant_s_listing_holds_no_other_s_tasks(record: RedisRecord) -> None:
    await lived(record, submission(spec=KEPT))
    for tenant in ("acm", "acme2", "acme/", "", "other"):
        assert await listed(record, TaskFilter(), tenant=tenant) == []


async def test_what_has_expired_is_listed_no_more_though_it_is_not_removed_yet(record: RedisRecord) -> None:
    now = await record.server_time()
    created = submission(spec=TaskSpec(type="mail", retention=60_000), now=now)
    await lived(record, created, Cancel())
    assert [task.id for task in await listed(record, TaskFilter())] == [created.task.id]
    over = submission(spec=TaskSpec(type="mail", retention=60_000), now=now - 60_001)
    await lived(record, over, Cancel())
    at_once = submission(spec=TaskSpec(type="mail", retention=0), now=now)
    await lived(record, at_once, Cancel())
    assert [task.id for task in await listed(record, TaskFilter())] == [created.task.id]
    assert await record.read_sequence(over.task.id) == 2


async def test_what_is_forgotten_is_in_no_listing(record: RedisRecord) -> None:
    tasks = await population(record, 30)
    gone = [task for task in tasks if task.status.is_terminal]
    assert gone
    assert await record.forget({task.id[-2:] for task in gone}, until=2 * NOW, limit=30) == len(gone)
    for type_, queue in itertools.product(("", "mail"), ("", "slow")):
        wanted = TaskFilter(type=type_, queue=queue)
        assert await listed(record, wanted) == [t for t in tasks if t not in gone and wanted.matches(t)]


async def test_changed_tasks_are_told_from_a_time_on(record: RedisRecord) -> None:
    early = await lived(record, submission(spec=KEPT, now=NOW))
    late = await lived(record, submission(spec=KEPT, now=NOW + 10), CLAIM, progress(5))
    assert set(await record.catalogue.changed("acme", since=NOW)) == {early.id, late.id}
    assert await record.catalogue.changed("acme", since=NOW + 1) == [late.id]
    await appended(record, change(early, Cancel(), now=NOW + 20))
    assert set(await record.catalogue.changed("acme", since=NOW + 10)) == {early.id, late.id}
    assert await record.catalogue.changed("acme", since=NOW + 11) == [early.id]
    assert await record.catalogue.changed("acme", since=NOW + 21) == []
    assert await record.catalogue.changed("other", since=NOW) == []


async def test_that_a_task_changed_is_remembered_for_five_minutes(record: RedisRecord) -> None:
    await lived(record, submission(new_task_id("42"), spec=KEPT, now=NOW - 300_001))
    kept = await lived(record, submission(new_task_id("42"), spec=KEPT, now=NOW - 300_000))
    new = await lived(record, submission(new_task_id("42"), spec=KEPT, now=NOW))
    assert set(await record.catalogue.changed("acme", since=0)) == {kept.id, new.id}
