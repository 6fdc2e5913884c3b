from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.filters import TaskFilter
from shared.domain.task import Task, TaskSpec, TaskStatus
from tests.unit.domain.lives import START, TASK_ID

TASK = Task(
    id=TASK_ID,
    tenant="acme",
    spec=TaskSpec(type="report.render", queue="slow", labels={"customer": "acme", "empty": ""}),
    status=TaskStatus.PROCESSING,
    create_time=START,
)


@pytest.mark.parametrize(
    "wanted",
    [
        TaskFilter(),
        TaskFilter(statuses=frozenset({TaskStatus.PROCESSING})),
        TaskFilter(statuses=frozenset({TaskStatus.WAITING, TaskStatus.PROCESSING})),
        TaskFilter(type="report.render"),
        TaskFilter(queue="slow"),
        TaskFilter(labels={"customer": "acme"}),
        TaskFilter(labels={"customer": "acme", "empty": ""}),
        TaskFilter(created_after=START),
        TaskFilter(created_before=START + 1),
        TaskFilter(type="report.render", queue="slow", created_after=START - 1, created_before=START + 1),
    ],
)
def test_a_task_that_meets_every_condition_matches(wanted: TaskFilter) -> None:
    assert wanted.matches(TASK)


@pytest.mark.parametrize(
    "unwanted",
    [
        TaskFilter(statuses=frozenset({TaskStatus.WAITING})),
        TaskFilter(type="report"),
        TaskFilter(queue="default"),
        TaskFilter(labels={"customer": "other"}),
        TaskFilter(labels={"absent": ""}),
        TaskFilter(labels={"customer": "acme", "absent": ""}),
        TaskFilter(created_after=START + 1),
        TaskFilter(created_before=START),
        TaskFilter(type="report.render", queue="default"),
    ],
)
def test_a_task_that_misses_one_condition_does_not_match(unwanted: TaskFilter) -> None:
    assert not unwanted.matches(TASK)


def test_a_time_of_zero_is_a_condition() -> None:
    assert not TaskFilter(created_before=0).matches(TASK)
    assert TaskFilter(created_after=0).matches(replace(TASK, create_time=0))
