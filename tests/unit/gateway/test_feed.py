"""A feed is bounded, and forgets nothing that a watch by ids needs to know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_service.faults import ShuttingDownError, WatchBehindError
from gateway_service.watch.feed import MOST_ROOM, MOST_SURVEYS, ROOM, Survey, TaskFeed, TenantFeed
from shared.domain.task import EventType, TaskEvent, TaskStatus

if TYPE_CHECKING:
    from gateway_service.watch.feed import News

TASKS = ("one", "two", "three")


def _event(task_id: str, sequence: int) -> TaskEvent:
    return TaskEvent(
        task_id=task_id,
        sequence=sequence,
        type=EventType.PROGRESSED,
        status=TaskStatus.PROCESSING,
        attempt=1,
        time=0,
    )


def _known(news: News) -> dict[str, int]:
    """The highest number of each task that the news tells of, one way or the other."""
    known = dict(news.ahead or {})
    for event in news.events:
        known[event.task_id] = max(event.sequence, known.get(event.task_id, 0))
    return known


# How many events of which task are pushed before the watch looks, each time that it looks.
_BURSTS = st.lists(st.lists(st.tuples(st.sampled_from(TASKS), st.integers(1, 150)), max_size=4), max_size=5)


@given(bursts=_BURSTS)
def test_whatever_is_pushed_is_told_as_an_event_or_as_a_number_to_read_up_to(
    bursts: list[list[tuple[str, int]]],
) -> None:
    feed = TaskFeed(TASKS)
    last = dict.fromkeys(TASKS, 0)
    for burst in bursts:
        pushed = {}
        for task_id, count in burst:
            for _ in range(count):
                last[task_id] += 1
                feed.push(_event(task_id, last[task_id]))
            pushed[task_id] = last[task_id]
        news = feed.take()
        assert len(news.events) <= ROOM * len(TASKS)
        assert _known(news) == pushed
        assert not feed.has_news


def test_the_room_of_a_feed_grows_with_its_tasks_up_to_a_limit() -> None:
    for tasks, room in ((1, ROOM), (2, 2 * ROOM), (1_000, MOST_ROOM)):
        feed = TaskFeed(str(number) for number in range(tasks))
        for sequence in range(1, 5_000):
            feed.push(_event("0", sequence))
        assert len(feed.take().events) == room


async def test_a_feed_without_news_lets_a_watch_wait_for_so_long_and_no_longer() -> None:
    feed = TaskFeed(TASKS)
    assert not await feed.wait(0.01)
    asyncio.get_running_loop().call_soon(feed.overtaken, "one", 7)
    assert await feed.wait(10)
    assert feed.take().ahead == {"one": 7}
    assert not await feed.wait(0)


async def test_a_feed_that_failed_stays_so_and_keeps_its_first_reason() -> None:
    feed = TaskFeed(TASKS)
    feed.push(_event("one", 1))
    feed.fail(WatchBehindError())
    feed.fail(ShuttingDownError())
    for _ in range(2):
        with pytest.raises(WatchBehindError):
            await feed.wait(10)


async def test_a_watch_by_filter_that_takes_no_surveys_is_ended_when_too_many_wait() -> None:
    feed = TenantFeed("acme")
    for number in range(MOST_SURVEYS):
        feed.surveyed(Survey(number, {}))
    assert await feed.wait(0)
    for sequence in range(1, 5_000):
        feed.push(_event("one", sequence))
    news = feed.take()
    assert [survey.began for survey in news.surveys] == list(range(MOST_SURVEYS))
    assert len(news.events) == MOST_ROOM

    for number in range(MOST_SURVEYS + 1):
        feed.surveyed(Survey(number, {}))
    with pytest.raises(WatchBehindError):
        await feed.wait(10)
