from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.domain.submission import Limits
from shared.domain.task import TaskProgress, TaskSpec
from shared.json_values import encode_json_object
from tests.unit.domain.lives import START, processing
from worker_service import TaskCancelled, TaskContext
from worker_service.context import LONGEST_PROGRESS_MESSAGE, Interruption, make_progress

SPEC = TaskSpec(type="report.render", labels={"customer": "acme"}, attempt_timeout=0)


def progress(**changes: Any) -> TaskProgress:
    fields: dict[str, Any] = {"percent": None, "message": "", "completed": None, "total": None, "detail": None}
    return make_progress(**{**fields, **changes})


class Handled:
    """A context, and the progress that was reported through it."""

    def __init__(self, spec: TaskSpec = SPEC, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        task = processing(spec, attempt=2).task
        assert task is not None
        self.task = task
        self.reported: list[TaskProgress] = []
        self.context = TaskContext(task, report=self.reported.append, loop=loop)


# --- What progress may be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "percent"),
    [
        ({}, 0.0),
        ({"percent": 0}, 0.0),
        ({"percent": 100}, 100.0),
        ({"percent": 33.3}, 33.3),
        ({"completed": 5, "total": 20}, 25.0),
        ({"completed": 20, "total": 20}, 100.0),
        ({"completed": 0, "total": 20}, 0.0),
        ({"completed": 7}, 0.0),
        ({"percent": 10, "completed": 5, "total": 20}, 10.0),
    ],
)
def test_percent_is_what_was_said_or_completed_of_total(said: dict[str, Any], percent: float) -> None:
    made = progress(**said)
    assert made.percent == percent
    assert isinstance(made.percent, float)
    assert (made.completed, made.total) == (said.get("completed", 0), said.get("total", 0))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"percent": -0.1}, "between 0 and 100, is -0.1"),
        ({"percent": 100.1}, "between 0 and 100, is 100.1"),
        ({"percent": math.nan}, "percent must be a number, is nan"),
        ({"percent": math.inf}, "percent must be a number, is inf"),
        ({"percent": True}, "percent must be a number, is True"),
        ({"percent": "50"}, "percent must be a number, is '50'"),
        ({"completed": -1}, "whole numbers of 0 or more, are -1 and None"),
        ({"total": -1}, "whole numbers of 0 or more, are None and -1"),
        ({"completed": 1.5, "total": 3}, "whole numbers of 0 or more, are 1.5 and 3"),
        ({"completed": 2**63}, "whole numbers of 0 or more"),
        ({"completed": 5, "total": 4}, "completed is 5, which is more than the total of 4"),
        ({"detail": {"a": {1}}}, r"detail\.a is a set, which JSON cannot hold"),
        ({"detail": [1]}, "detail must be a mapping, is list"),
    ],
)
def test_progress_that_makes_no_sense_is_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        progress(**said)


def test_detail_may_be_as_large_as_its_limit_and_no_larger() -> None:
    limit = Limits().progress_detail_bytes
    # Two texts, so that the length of neither is near the size at which its own encoding grows.
    half = {"a": "x" * (limit // 2)}
    rest = limit - len(encode_json_object({**half, "b": "y" * 1_000}, "detail")) + 1_000
    assert len(progress(detail={**half, "b": "y" * rest}).detail) == limit
    with pytest.raises(ValueError, match=f"detail is {limit + 1} bytes encoded, the limit is {limit}"):
        progress(detail={**half, "b": "y" * (rest + 1)})


def test_a_long_message_is_cut_and_one_that_utf_8_cannot_hold_is_mended() -> None:
    assert progress(message="x" * 5_000).message == "x" * LONGEST_PROGRESS_MESSAGE
    assert progress(message="caf\udce9").message == "caf?"


# --- What a handler sees -------------------------------------------------------------------------------------------


def test_a_handler_sees_its_task() -> None:
    context = Handled().context
    assert (context.attempt, context.labels, context.cancelled) == (2, {"customer": "acme"}, False)
    assert context.task_id == Handled().task.id
    assert context.deadline is None


@pytest.mark.parametrize(
    ("timeout", "attempt_timeout", "seconds_after_start"),
    [(60_000, 0, 60), (None, 5_000, 15), (60_000, 5_000, 15), (12_000, 5_000, 12)],
)
def test_the_deadline_is_that_of_the_task_or_of_the_attempt_whichever_comes_first(
    timeout: int | None, attempt_timeout: int, seconds_after_start: int
) -> None:
    # The first attempt lost its lease after ten seconds; the second began then.
    life = processing(replace(SPEC, attempt_timeout=0), attempt=2)
    assert life.task is not None
    assert life.task.terms is not None
    task = replace(
        life.task,
        spec=replace(SPEC, timeout=timeout),
        terms=replace(life.task.terms, attempt_timeout=attempt_timeout),
    )
    context = TaskContext(task, report=lambda _: None, loop=None)
    assert context.deadline == datetime.fromtimestamp(START / 1_000, UTC) + timedelta(seconds=seconds_after_start)


async def test_progress_is_reported_with_or_without_await() -> None:
    handled = Handled(loop=asyncio.get_running_loop())
    await handled.context.progress(percent=10, message="page 1")
    handled.context.progress(percent=20)
    assert [(p.percent, p.message) for p in handled.reported] == [(10.0, "page 1"), (20.0, "")]


async def test_awaiting_progress_gives_others_a_turn() -> None:
    handled = Handled(loop=asyncio.get_running_loop())
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    job = asyncio.create_task(other())
    for percent in range(50):
        await handled.context.progress(percent=percent)
    assert turns >= 49
    job.cancel()


async def test_a_handler_that_is_cancelled_hears_it_at_its_next_await_of_progress() -> None:
    handled = Handled(loop=asyncio.get_running_loop())

    async def handler() -> None:
        while True:
            await handled.context.progress(percent=1)

    job = asyncio.create_task(handler())
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job


async def test_progress_from_a_thread_arrives_on_the_loop() -> None:
    handled = Handled(loop=asyncio.get_running_loop())

    def handler() -> None:
        for percent in range(5):
            handled.context.progress(percent=percent)

    await asyncio.to_thread(handler)
    await asyncio.sleep(0)
    assert [p.percent for p in handled.reported] == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("why", list(Interruption))
async def test_a_thread_that_should_stop_is_told_by_its_next_progress(why: Interruption) -> None:
    handled = Handled(loop=asyncio.get_running_loop())
    handled.context.interrupt(why)
    assert handled.context.cancelled
    assert handled.context.interruption is why
    with pytest.raises(TaskCancelled, match=why.value):
        await asyncio.to_thread(handled.context.progress, percent=1)
    assert handled.reported == []


async def test_nonsense_is_refused_in_a_thread_too_even_once_it_should_stop() -> None:
    handled = Handled(loop=asyncio.get_running_loop())
    handled.context.interrupt(Interruption.ENDED)
    with pytest.raises(ValueError, match="between 0 and 100"):
        await asyncio.to_thread(handled.context.progress, percent=101)
