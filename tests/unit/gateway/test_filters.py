"""From the contract's filter to that of the rules. What is refused is in tests/e2e/test_bad_input.py."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway_service.faults import InvalidRequestError
from gateway_service.rpc.filters import task_filter, watched_filter
from shared.domain.filters import TaskFilter
from shared.domain.task import TaskStatus
from taskcast.v1 import task_pb2
from taskcast.v1 import task_service_pb2 as pb

TASK_ID = "00000000-0000-7000-8000-000000000000"


def test_every_field_of_a_filter_is_read() -> None:
    message = pb.TaskFilter(
        statuses=[task_pb2.TASK_STATUS_WAITING, task_pb2.TASK_STATUS_ERROR, task_pb2.TASK_STATUS_WAITING],
        type="report.render",
        queue="slow",
        labels={"customer": "acme"},
        create_time_after=Timestamp(seconds=10),
        create_time_before=Timestamp(seconds=20, nanos=1_000_000),
    )
    assert task_filter(message) == TaskFilter(
        statuses=frozenset({TaskStatus.WAITING, TaskStatus.ERROR}),
        type="report.render",
        queue="slow",
        labels={"customer": "acme"},
        created_after=10_000,
        created_before=20_001,
    )


def test_an_empty_filter_asks_for_all() -> None:
    assert task_filter(pb.TaskFilter()) == TaskFilter()


@pytest.mark.parametrize(("nanos", "millis"), [(0, 5_000), (1, 5_001), (999_999, 5_001), (1_000_000, 5_001)])
def test_a_time_between_two_milliseconds_counts_as_the_later(nanos: int, millis: int) -> None:
    time = Timestamp(seconds=5, nanos=nanos)
    assert task_filter(pb.TaskFilter(create_time_after=time)).created_after == millis
    assert task_filter(pb.TaskFilter(create_time_before=time)).created_before == millis


def test_a_watch_is_by_ids_or_by_filter() -> None:
    assert watched_filter(pb.WatchTasksRequest(task_ids=[TASK_ID])) is None
    assert watched_filter(pb.WatchTasksRequest(filter=pb.TaskFilter())) == TaskFilter()
    for request in (pb.WatchTasksRequest(), pb.WatchTasksRequest(task_ids=[TASK_ID], filter=pb.TaskFilter())):
        with pytest.raises(InvalidRequestError) as refused:
            watched_filter(request)
        assert {violation.field for violation in refused.value.violations} == {"task_ids", "filter"}
