"""ListTasks: each filter against a model, pages while tasks arrive and change, and pages that are full."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from shared.codec import task_from_proto
from shared.domain.filters import TaskFilter
from shared.domain.task import TaskStatus
from taskcast.v1 import task_pb2, task_service_pb2
from tests.clients import TERMINAL, calling, refusal, value
from tests.deadlines import eventually_async
from tests.stack import record_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.domain.task import Task
    from tests.clients import Caller
    from tests.stack import Stack

pytestmark = pytest.mark.e2e

POPULATION = 3_000
BATCH = 1_000
SEED = 20_261_127
TYPES = ("test.echo", "test.fail", "other.type")
QUEUES = ("default", "unserved", "slow")
LABELS: tuple[dict[str, str], ...] = ({}, {"customer": "acme"}, {"customer": "other", "urgent": ""}, {"region": "eu"})


async def _pages(
    caller: Caller, wanted: task_service_pb2.TaskFilter, *, size: int = 0, most: int = 10_000
) -> list[list[task_pb2.Task]]:
    """All pages of a listing."""
    pages: list[list[task_pb2.Task]] = []
    token = ""
    while len(pages) < most:
        request = task_service_pb2.ListTasksRequest(page_size=size, page_token=token, filter=wanted)
        answer = await caller.stub.ListTasks(request, timeout=20)
        assert len(answer.tasks) <= (size or 50)
        pages.append(list(answer.tasks))
        token = answer.next_page_token
        if not token:
            return pages
    raise AssertionError("the listing has no end")


async def _ids(caller: Caller, wanted: task_service_pb2.TaskFilter, *, size: int = 1_000) -> list[str]:
    return [task.id for page in await _pages(caller, wanted, size=size) for task in page]


async def _submit_all(caller: Caller, requests: Sequence[task_service_pb2.SubmitTaskRequest]) -> list[task_pb2.Task]:
    tasks = []
    for part in (requests[start : start + BATCH] for start in range(0, len(requests), BATCH)):
        answer = await caller.stub.BatchSubmitTasks(task_service_pb2.BatchSubmitTasksRequest(requests=part), timeout=30)
        assert not any(result.HasField("error") for result in answer.results)
        tasks += [result.task for result in answer.results]
    return tasks


async def _shown(caller: Caller, ids: Sequence[str]) -> list[task_pb2.Task]:
    tasks = []
    for part in (ids[start : start + BATCH] for start in range(0, len(ids), BATCH)):
        answer = await caller.stub.BatchGetTasks(task_service_pb2.BatchGetTasksRequest(task_ids=part), timeout=30)
        tasks += [result.task for result in answer.results]
    return tasks


async def _settled_population(caller: Caller, chance: random.Random) -> list[Task]:
    """Tasks of every kind, newest first: succeeded, failed, in error, cancelled, timed out, waiting and delayed."""
    later = Timestamp(seconds=int(record_time()) + 3_600)
    requests = []
    for number in range(POPULATION):
        request = task_service_pb2.SubmitTaskRequest(
            type=chance.choice(TYPES),
            payload=value(number),
            queue=chance.choices(QUEUES, (2, 5, 5))[0],
            labels=chance.choices(LABELS, (50, 30, 19, 1))[0],
            priority=chance.choice(task_pb2.TaskPriority.values()),
        )
        if chance.random() < 0.1:
            request.schedule_time.CopyFrom(later)
        elif chance.random() < 0.02:
            request.timeout.CopyFrom(Duration(seconds=1))
        requests.append(request)
    submitted = await _submit_all(caller, requests)
    ids = [task.id for task in submitted]
    await caller.stub.BatchCancelTasks(
        task_service_pb2.BatchCancelTasksRequest(task_ids=chance.sample(ids, 300)), timeout=30
    )
    moving = [
        task.id
        for task, request in zip(submitted, requests, strict=True)
        if not request.HasField("schedule_time") and (request.queue == "default" or request.HasField("timeout"))
    ]

    async def at_rest() -> bool:
        return all(task.status in TERMINAL for task in await _shown(caller, moving))

    await eventually_async(at_rest, within=60, what="what can run to have run")
    tasks = [task_from_proto(task) for task in await _shown(caller, ids)]
    return sorted(tasks, key=lambda task: (task.create_time, task.id), reverse=True)


def _filters(tasks: Sequence[Task], chance: random.Random) -> Iterator[TaskFilter]:
    """Each field alone with every value that it has here, one that nothing has, and some tens of combinations."""
    times = [task.create_time for task in tasks]
    statuses = [frozenset({status}) for status in TaskStatus]
    several = [frozenset(chance.sample(list(TaskStatus), 3)) for _ in range(3)]
    types = [*TYPES, "no.such.type"]
    queues = [*QUEUES, "nowhere"]
    labels: list[dict[str, str]] = [*LABELS, {"customer": "other"}, {"customer": "nobody"}, {"urgent": "yes"}]
    moments = [min(times), chance.choice(times), max(times), max(times) + 1]
    yield TaskFilter()
    yield from (TaskFilter(statuses=each) for each in [*statuses, *several])
    yield from (TaskFilter(type=each) for each in types)
    yield from (TaskFilter(queue=each) for each in queues)
    yield from (TaskFilter(labels=each) for each in labels)
    yield from (TaskFilter(created_after=each) for each in moments)
    yield from (TaskFilter(created_before=each) for each in moments)
    yield from (TaskFilter(created_after=a, created_before=b) for a, b in itertools.pairwise(moments))
    for _ in range(20):
        yield TaskFilter(
            statuses=chance.choice([frozenset[TaskStatus](), *statuses, *several]),
            type=chance.choice(["", *types]),
            queue=chance.choice(["", *queues]),
            labels=chance.choice([{}, *labels]),
            created_after=chance.choice([None, *moments[:2]]),
            created_before=chance.choice([None, *moments[2:]]),
        )


def _message(wanted: TaskFilter) -> task_service_pb2.TaskFilter:
    message = task_service_pb2.TaskFilter(
        statuses=[task_pb2.TaskStatus.ValueType(status) for status in wanted.statuses],
        type=wanted.type,
        queue=wanted.queue,
        labels=wanted.labels,
    )
    if wanted.created_after is not None:
        message.create_time_after.FromMilliseconds(wanted.created_after)
    if wanted.created_before is not None:
        message.create_time_before.FromMilliseconds(wanted.created_before)
    return message


async def test_every_filter_finds_of_three_thousand_tasks_exactly_those_that_match_newest_first(
    own_stack: Stack,
) -> None:
    own_stack.start(gateways=1, workers=1)
    chance = random.Random(SEED)
    async with calling(own_stack.address) as caller:
        tasks = await _settled_population(caller, chance)
        assert {task.status for task in tasks} >= {
            TaskStatus.WAITING,
            TaskStatus.SUCCESS,
            TaskStatus.FAILED,
            TaskStatus.ERROR,
            TaskStatus.CANCELLED,
            TaskStatus.TIMEOUT,
        }
        for wanted in _filters(tasks, chance):
            expected = [task.id for task in tasks if wanted.matches(task)]
            found = await _ids(caller, _message(wanted))
            assert found == expected, f"seed {SEED}, {wanted}"

        for size, wanted in itertools.product(
            (333, 50), (TaskFilter(type=TYPES[0]), TaskFilter(labels={"region": "eu"}))
        ):
            pages = await _pages(caller, _message(wanted), size=size)
            found = [task.id for page in pages for task in page]
            assert found == [task.id for task in tasks if wanted.matches(task)], f"seed {SEED}, pages of {size}"
        plain = (await _pages(caller, _message(TaskFilter(statuses=frozenset({TaskStatus.SUCCESS})))))[0]
        assert not any(task.HasField("payload") or task.HasField("result") for task in plain)


async def test_pages_stay_right_while_tasks_arrive_and_change(standing_stack: Stack) -> None:
    queue = "paged-through"
    async with calling(standing_stack.address) as caller, calling(standing_stack.gateways[1].address) as other:
        requests = [task_service_pb2.SubmitTaskRequest(type="test.echo", queue=queue) for _ in range(400)]
        before = [task.id for task in await _submit_all(caller, requests)]
        there_before = [task.id for task in await _shown(caller, await _ids(caller, _message(TaskFilter(queue=queue))))]
        assert sorted(there_before) == sorted(before)
        arriving = True

        async def arrive_and_change() -> None:
            cancelling = iter(before)
            while arriving:
                await other.submit("test.echo", queue=queue)
                if task_id := next(cancelling, ""):
                    await other.cancel(task_id)

        busy = asyncio.create_task(arrive_and_change())
        found: list[str] = []
        token = ""
        while not found or token:
            request = task_service_pb2.ListTasksRequest(
                page_size=20, page_token=token, filter=task_service_pb2.TaskFilter(queue=queue)
            )
            # Either gateway reads the other's tokens.
            answer = await random.Random(len(found)).choice([caller, other]).stub.ListTasks(request, timeout=20)
            found += [task.id for task in answer.tasks]
            token = answer.next_page_token
        arriving = False
        await busy
        await caller.stub.BatchCancelTasks(task_service_pb2.BatchCancelTasksRequest(task_ids=there_before), timeout=30)

    assert len(found) == len(set(found)), "none twice"
    assert found[-len(there_before) :] == there_before, "those that were there are all listed, in their order"


async def test_a_page_that_would_be_too_large_for_a_client_is_cut_and_goes_on(own_stack: Stack) -> None:
    own_stack.start(gateways=1, workers=0)
    labels = {f"label-{number}": "v" * 255 for number in range(32)}
    async with calling(own_stack.address) as caller:
        submitted: list[task_pb2.Task] = []
        for _ in range(3):
            request = task_service_pb2.SubmitTaskRequest(type="test.echo", labels=labels)
            submitted += await _submit_all(caller, [request] * 300)
        pages = await _pages(caller, task_service_pb2.TaskFilter(labels={"label-7": "v" * 255}), size=1_000)

    assert len(pages) == 3
    assert all(300 < len(page) < 450 for page in pages[:2])
    assert sorted(task.id for page in pages for task in page) == sorted(task.id for task in submitted)


def _token_of(answer: task_service_pb2.ListTasksResponse) -> str:
    assert answer.next_page_token
    return answer.next_page_token


async def test_a_token_is_good_for_the_listing_that_gave_it_and_for_no_other(standing_stack: Stack) -> None:
    ask: Any = task_service_pb2.ListTasksRequest
    wanted = task_service_pb2.TaskFilter(queue="tokens", labels={"a": "1", "b": "2"})
    async with calling(standing_stack.address) as caller:
        for _ in range(3):
            task = await caller.submit("test.echo", queue="tokens", labels={"a": "1", "b": "2"})
            await caller.cancel(task.id)
        token = _token_of(await caller.stub.ListTasks(ask(page_size=1, filter=wanted), timeout=20))
        again = await caller.stub.ListTasks(ask(page_size=2, page_token=token, filter=wanted), timeout=20)
        others = [
            task_service_pb2.TaskFilter(),
            task_service_pb2.TaskFilter(queue="tokens"),
            task_service_pb2.TaskFilter(queue="tokens", labels={"a": "1", "b": "3"}),
            task_service_pb2.TaskFilter(queue="tokens", labels=wanted.labels, statuses=[task_pb2.TASK_STATUS_WAITING]),
        ]
        refused = [
            await refusal(caller.stub.ListTasks(ask(page_token=token, filter=other), timeout=20)) for other in others
        ]

    assert len(again.tasks) == 2, "the size of a page is no part of what is listed"
    for problem in refused:
        assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert problem.fields == ("page_token",)
