"""Bad input: the right code, the field by its name, and nothing recorded. With pytest-grpc's fixtures."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from taskcast.v1 import (
    task_pb2,
    task_service_pb2,
    task_service_pb2_grpc,
)
from tests.clients import NO_PROXY, Problem, problem_of, value
from tests.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.e2e

UNKNOWN = "00000000-0000-7000-8000-000000000000"
TEN_YEARS = 10 * 365 * 86_400


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, redis_url: str, rabbitmq_url: str) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("bad"), redis_url=redis_url, rabbitmq_url=rabbitmq_url) as stack:
        yield stack.start(gateways=1, workers=0)


@pytest.fixture(scope="module")
def grpc_addr(stack: Stack) -> str:
    return stack.address


@pytest.fixture(scope="module")
def grpc_server(stack: Stack) -> Stack:
    """What pytest-grpc would start itself, with servicers that are not asynchronous."""
    return stack


@pytest.fixture(scope="module")
def grpc_channel(grpc_create_channel: Callable[..., grpc.Channel]) -> Iterator[grpc.Channel]:
    with grpc_create_channel(None, [NO_PROXY]) as channel:
        yield channel


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[task_service_pb2_grpc.TaskServiceStub]:
    return task_service_pb2_grpc.TaskServiceStub


@pytest.fixture(autouse=True)
def _nothing_is_recorded(stack: Stack) -> Iterator[None]:
    yield
    assert stack.keys() == set()


def _submit(**fields: Any) -> task_service_pb2.SubmitTaskRequest:
    return task_service_pb2.SubmitTaskRequest(**{"type": "test.echo", **fields})


def _policy(**fields: Any) -> task_service_pb2.SubmitTaskRequest:
    return _submit(retry_policy=task_pb2.RetryPolicy(**fields))


def _hook(**fields: Any) -> task_service_pb2.SubmitTaskRequest:
    return _submit(webhooks=[task_pb2.Webhook(**{"url": "https://example.com/hook", **fields})])


def _in_years(years: float) -> Timestamp:
    return Timestamp(seconds=int(time.time() + years * 365 * 86_400))


def _number(number: float) -> struct_pb2.Value:
    return struct_pb2.Value(number_value=number)


def _durations(field: str) -> dict[str, tuple[task_service_pb2.SubmitTaskRequest, str]]:
    """Requests with each kind of bad duration in one field."""
    bad = {
        "negative": Duration(seconds=-1),
        "a little negative": Duration(nanos=-1),
        "beyond ten years": Duration(seconds=TEN_YEARS + 1),
        "absurd": Duration(seconds=2**62),
        "with nanos out of range": Duration(seconds=1, nanos=1_000_000_000),
    }
    name = field.rpartition(".")[2]
    make = _policy if field.startswith("retry_policy.") else _submit
    return {f"{field} {what}": (make(**{name: duration}), field) for what, duration in bad.items()}


SUBMITS: dict[str, tuple[task_service_pb2.SubmitTaskRequest, str]] = {
    "no type": (_submit(type=""), "type"),
    "an over-long type": (_submit(type="t" * 129), "type"),
    "a type with a space": (_submit(type="a b"), "type"),
    "a type with a line end": (_submit(type="a\n"), "type"),
    "a type that begins with a dot": (_submit(type=".a"), "type"),
    "a type that is not ASCII": (_submit(type="bäh"), "type"),
    "an over-long queue": (_submit(queue="q" * 65), "queue"),
    "a queue with a wildcard": (_submit(queue="a.*"), "queue"),
    "a payload over 1 MiB": (_submit(payload=value("x" * (1 << 20))), "payload"),
    "a payload that is NaN": (_submit(payload=_number(math.nan)), "payload"),
    "a payload with infinity inside": (
        _submit(payload=struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_number(-math.inf)]))),
        "payload",
    ),
    "a payload with an unset value inside": (
        _submit(payload=struct_pb2.Value(list_value=struct_pb2.ListValue(values=[struct_pb2.Value()]))),
        "payload",
    ),
    "33 labels": (_submit(labels={f"l{n}": "" for n in range(33)}), "labels"),
    "an empty label key": (_submit(labels={"": "v"}), "labels['']"),
    "a label key of 64 characters": (_submit(labels={"k" * 64: "v"}), f"labels['{'k' * 64}']"),
    "a label key with a space": (_submit(labels={"a b": "v"}), "labels['a b']"),
    "a label value of 256 characters": (_submit(labels={"k": "v" * 256}), "labels['k']"),
    "an unknown priority": (_submit(priority=4), "priority"),
    "a negative priority": (_submit(priority=-1), "priority"),
    "a schedule time in 11 years": (_submit(schedule_time=_in_years(11)), "schedule_time"),
    "a schedule time before 1970": (_submit(schedule_time=Timestamp(seconds=-1)), "schedule_time"),
    "an absurd schedule time": (_submit(schedule_time=Timestamp(seconds=2**62)), "schedule_time"),
    "a schedule time with bad nanos": (
        _submit(schedule_time=Timestamp(seconds=1, nanos=-1)),
        "schedule_time",
    ),
    **_durations("timeout"),
    **_durations("attempt_timeout"),
    **_durations("estimated_duration"),
    **_durations("retention"),
    **_durations("retry_policy.initial_backoff"),
    **_durations("retry_policy.max_backoff"),
    "101 attempts": (_policy(max_attempts=101), "retry_policy.max_attempts"),
    "negative attempts": (_policy(max_attempts=-1), "retry_policy.max_attempts"),
    "a multiplier of 0.5": (_policy(backoff_multiplier=0.5), "retry_policy.backoff_multiplier"),
    "a negative multiplier": (_policy(backoff_multiplier=-1), "retry_policy.backoff_multiplier"),
    "a multiplier that is NaN": (_policy(backoff_multiplier=math.nan), "retry_policy.backoff_multiplier"),
    "an infinite multiplier": (_policy(backoff_multiplier=math.inf), "retry_policy.backoff_multiplier"),
    "a negative jitter": (_policy(jitter=-0.1), "retry_policy.jitter"),
    "a jitter above 1": (_policy(jitter=1.5), "retry_policy.jitter"),
    "a jitter that is NaN": (_policy(jitter=math.nan), "retry_policy.jitter"),
    "9 webhooks": (
        _submit(webhooks=[task_pb2.Webhook(url=f"https://example.com/{n}") for n in range(9)]),
        "webhooks",
    ),
    "a webhook without url": (_hook(url=""), "webhooks[0].url"),
    "a webhook to a file": (_hook(url="file:///etc/passwd"), "webhooks[0].url"),
    "a webhook without host": (_hook(url="https:///path"), "webhooks[0].url"),
    "a webhook with a bad port": (_hook(url="https://example.com:99999/"), "webhooks[0].url"),
    "a webhook with credentials": (_hook(url="https://me:secret@example.com/"), "webhooks[0].url"),
    "a webhook with a user": (_hook(url="https://me@example.com/"), "webhooks[0].url"),
    "a webhook with a space": (_hook(url="https://example.com/a b"), "webhooks[0].url"),
    "a webhook with a line end": (_hook(url="https://example.com/\r\nX: y"), "webhooks[0].url"),
    "a webhook to a private address": (_hook(url="http://10.0.0.1/hook"), "webhooks[0].url"),
    "a webhook to a private address in disguise": (_hook(url="http://0x0a.1/hook"), "webhooks[0].url"),
    "a webhook to the metadata of a cloud": (_hook(url="http://169.254.169.254/latest"), "webhooks[0].url"),
    "a webhook to an IPv6 loopback": (_hook(url="http://[::1]/hook"), "webhooks[0].url"),
    "a webhook to a private address behind NAT64": (_hook(url="http://[64:ff9b::a00:1]/hook"), "webhooks[0].url"),
    "a webhook to a port of another service": (_hook(url="http://example.com:22/hook"), "webhooks[0].url"),
    "a webhook to no host name": (_hook(url="http://a..b/hook"), "webhooks[0].url"),
    "a webhook that forges our header": (
        _hook(headers={"Webhook-Signature": "v1,x"}),
        "webhooks[0].headers['Webhook-Signature']",
    ),
    "an over-long webhook": (_hook(url="https://example.com/" + "x" * 2_048), "webhooks[0].url"),
    "a webhook for an unknown status": (_hook(statuses=[99]), "webhooks[0].statuses"),
    "a webhook for no status": (_hook(statuses=[0]), "webhooks[0].statuses"),
    "a webhook with a header that ends a line": (
        _hook(headers={"X-A": "1\r\nHost: evil"}),
        "webhooks[0].headers['X-A']",
    ),
    "a webhook with a header name that ends a line": (
        _hook(headers={"X-A\r\nHost": "1"}),
        r"webhooks[0].headers['X-A\r\nHost']",
    ),
    "a webhook with 17 headers": (
        _hook(headers={f"X-{n}": "" for n in range(17)}),
        "webhooks[0].headers",
    ),
    "a webhook with large headers": (_hook(headers={"X-A": "x" * 5_000}), "webhooks[0].headers"),
    "a request_id of 129 characters": (_submit(request_id="r" * 129), "request_id"),
}


def _refusal(call: Callable[[], Any]) -> Problem:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return problem_of(raised.value)


def _expect_invalid(problem: Problem, field: str) -> None:
    assert problem.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (problem.domain, problem.reason) == ("taskcast", "INVALID_REQUEST")
    assert problem.fields == (field,)
    assert problem.retry_after is None


@pytest.mark.parametrize(("request_", "field"), SUBMITS.values(), ids=SUBMITS)
def test_a_bad_submit_is_refused_by_the_name_of_the_field_and_records_nothing(
    grpc_stub: Any, request_: task_service_pb2.SubmitTaskRequest, field: str
) -> None:
    _expect_invalid(_refusal(lambda: grpc_stub.SubmitTask(request_, timeout=10)), field)


def test_everything_that_is_wrong_is_said_at_once(grpc_stub: Any) -> None:
    request = _submit(type="", queue="?", labels={"": ""}, request_id="r" * 129)
    problem = _refusal(lambda: grpc_stub.SubmitTask(request, timeout=10))

    assert problem.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(problem.fields) == {"type", "queue", "labels['']", "request_id"}


MALFORMED_IDS = {
    "none": "",
    "a word": "task",
    "upper case": UNKNOWN.replace("0", "A"),
    "braces": "{" + UNKNOWN + "}",
    "without hyphens": UNKNOWN.replace("-", ""),
    "with a line end": UNKNOWN + "\n",
    "with a wildcard": UNKNOWN[:-1] + "*",
    "very long": "0" * 10_000,
}


@pytest.mark.parametrize("task_id", MALFORMED_IDS.values(), ids=MALFORMED_IDS)
def test_a_malformed_task_id_is_refused_everywhere(grpc_stub: Any, task_id: str) -> None:
    for call in (
        lambda: grpc_stub.GetTask(task_service_pb2.GetTaskRequest(task_id=task_id), timeout=10),
        lambda: grpc_stub.CancelTask(task_service_pb2.CancelTaskRequest(task_id=task_id), timeout=10),
        lambda: grpc_stub.RetryTask(task_service_pb2.RetryTaskRequest(task_id=task_id), timeout=10),
        lambda: list(grpc_stub.WatchTask(task_service_pb2.WatchTaskRequest(task_id=task_id), timeout=10)),
    ):
        _expect_invalid(_refusal(call), "task_id")


WATCHES: dict[str, tuple[task_service_pb2.WatchTaskRequest, str]] = {
    "a heartbeat of 0.1 s": (
        task_service_pb2.WatchTaskRequest(heartbeat_interval=Duration(nanos=100_000_000)),
        "heartbeat_interval",
    ),
    "a heartbeat of 0": (task_service_pb2.WatchTaskRequest(heartbeat_interval=Duration()), "heartbeat_interval"),
    "a heartbeat of an hour": (
        task_service_pb2.WatchTaskRequest(heartbeat_interval=Duration(seconds=3_600)),
        "heartbeat_interval",
    ),
    "a negative heartbeat": (
        task_service_pb2.WatchTaskRequest(heartbeat_interval=Duration(seconds=-5)),
        "heartbeat_interval",
    ),
    "a heartbeat with bad nanos": (
        task_service_pb2.WatchTaskRequest(heartbeat_interval=Duration(seconds=2, nanos=2**31 - 1)),
        "heartbeat_interval",
    ),
    "a negative after_sequence": (task_service_pb2.WatchTaskRequest(after_sequence=-1), "after_sequence"),
}


@pytest.mark.parametrize(("request_", "field"), WATCHES.values(), ids=WATCHES)
def test_a_bad_watch_is_refused_by_the_name_of_the_field(
    grpc_stub: Any, request_: task_service_pb2.WatchTaskRequest, field: str
) -> None:
    request_.task_id = UNKNOWN
    _expect_invalid(_refusal(lambda: list(grpc_stub.WatchTask(request_, timeout=10))), field)


def _watch(**fields: Any) -> task_service_pb2.WatchTasksRequest:
    return task_service_pb2.WatchTasksRequest(**fields)


def _filter(**fields: Any) -> task_service_pb2.WatchTasksRequest:
    return _watch(filter=task_service_pb2.TaskFilter(**fields))


WATCHES_OF_MANY: dict[str, tuple[task_service_pb2.WatchTasksRequest, str]] = {
    "1,001 ids": (_watch(task_ids=[UNKNOWN] * 1_001), "task_ids"),
    "an id twice": (_watch(task_ids=[UNKNOWN, UNKNOWN]), "task_ids[1]"),
    "an id that is none": (_watch(task_ids=[UNKNOWN, "the other"]), "task_ids[1]"),
    "an empty id": (_watch(task_ids=[""]), "task_ids[0]"),
    "a heartbeat of 0.1 s": (
        _watch(filter=task_service_pb2.TaskFilter(), heartbeat_interval=Duration(nanos=100_000_000)),
        "heartbeat_interval",
    ),
    "a status that is none": (_filter(statuses=[task_pb2.TASK_STATUS_SUCCESS, 99]), "filter.statuses[1]"),
    "the unspecified status": (_filter(statuses=[task_pb2.TASK_STATUS_UNSPECIFIED]), "filter.statuses[0]"),
    "statuses without end": (_filter(statuses=[task_pb2.TASK_STATUS_SUCCESS] * 1_000), "filter.statuses"),
    "an over-long type": (_filter(type="t" * 129), "filter.type"),
    "a type with a wildcard": (_filter(type="report.*"), "filter.type"),
    "an over-long queue": (_filter(queue="q" * 65), "filter.queue"),
    "a queue with a line end": (_filter(queue="a\n"), "filter.queue"),
    "33 labels": (_filter(labels={f"k{number}": "v" for number in range(33)}), "filter.labels"),
    "a label without a key": (_filter(labels={"": "v"}), "filter.labels['']"),
    "a label with an over-long value": (_filter(labels={"k": "v" * 256}), "filter.labels['k']"),
    "a time with bad nanos": (
        _filter(create_time_after=Timestamp(seconds=1, nanos=1_000_000_000)),
        "filter.create_time_after",
    ),
    "a time before that is not later than the time after": (
        _filter(create_time_after=_in_years(0), create_time_before=_in_years(-1)),
        "filter.create_time_before",
    ),
}


@pytest.mark.parametrize(("request_", "field"), WATCHES_OF_MANY.values(), ids=WATCHES_OF_MANY)
def test_a_bad_watch_of_many_is_refused_by_the_name_of_the_field(
    grpc_stub: Any, request_: task_service_pb2.WatchTasksRequest, field: str
) -> None:
    _expect_invalid(_refusal(lambda: list(grpc_stub.WatchTasks(request_, timeout=10))), field)


LISTS: dict[str, tuple[task_service_pb2.ListTasksRequest, str]] = {
    **{
        what: (task_service_pb2.ListTasksRequest(filter=request.filter), field)
        for what, (request, field) in WATCHES_OF_MANY.items()
        if field.startswith("filter.")
    },
    "a negative page size": (task_service_pb2.ListTasksRequest(page_size=-1), "page_size"),
    "a token that is none": (task_service_pb2.ListTasksRequest(page_token="next"), "page_token"),
    "a token of blanks": (task_service_pb2.ListTasksRequest(page_token=" " * 44), "page_token"),
    "a token that is not ASCII": (task_service_pb2.ListTasksRequest(page_token="ü" * 44), "page_token"),
    "a token of the right length": (task_service_pb2.ListTasksRequest(page_token="A" * 44), "page_token"),
    "a token of another version": (task_service_pb2.ListTasksRequest(page_token="Ag" + "A" * 42), "page_token"),
    "an endless token": (task_service_pb2.ListTasksRequest(page_token="A" * 100_000), "page_token"),
}


@pytest.mark.parametrize(("request_", "field"), LISTS.values(), ids=LISTS)
def test_a_bad_listing_is_refused_by_the_name_of_the_field(
    grpc_stub: Any, request_: task_service_pb2.ListTasksRequest, field: str
) -> None:
    _expect_invalid(_refusal(lambda: grpc_stub.ListTasks(request_, timeout=10)), field)


def test_times_beyond_all_tasks_find_none_and_are_no_error(grpc_stub: Any) -> None:
    for far in (-(2**62), -1, 0, 2**62):
        time = Timestamp(seconds=far)
        for wanted in (
            task_service_pb2.TaskFilter(create_time_after=time),
            task_service_pb2.TaskFilter(create_time_before=time),
        ):
            assert not grpc_stub.ListTasks(task_service_pb2.ListTasksRequest(filter=wanted), timeout=10).tasks


@pytest.mark.parametrize(
    "request_", [_watch(), _watch(task_ids=[UNKNOWN], filter=task_service_pb2.TaskFilter())], ids=["neither", "both"]
)
def test_a_watch_of_many_is_by_ids_or_by_filter(grpc_stub: Any, request_: task_service_pb2.WatchTasksRequest) -> None:
    problem = _refusal(lambda: list(grpc_stub.WatchTasks(request_, timeout=10)))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert problem.fields == ("task_ids", "filter")


def test_of_a_thousand_bad_ids_so_many_are_named_as_an_answer_can_hold(grpc_stub: Any) -> None:
    request = _watch(task_ids=["none"] * 1_000)
    problem = _refusal(lambda: list(grpc_stub.WatchTasks(request, timeout=10)))
    assert (problem.code, problem.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert problem.fields == tuple(f"task_ids[{index}]" for index in range(20))


def test_an_over_long_reason_to_cancel_is_refused(grpc_stub: Any) -> None:
    request = task_service_pb2.CancelTaskRequest(task_id=UNKNOWN, reason="r" * 1_025)
    _expect_invalid(_refusal(lambda: grpc_stub.CancelTask(request, timeout=10)), "reason")


def test_a_batch_of_more_than_a_thousand_is_refused_whole(grpc_stub: Any) -> None:
    ids = [UNKNOWN] * 1_001
    for call, field in (
        (lambda: grpc_stub.BatchSubmitTasks(_batch(1_001), timeout=10), "requests"),
        (lambda: grpc_stub.BatchGetTasks(task_service_pb2.BatchGetTasksRequest(task_ids=ids), timeout=10), "task_ids"),
        (
            lambda: grpc_stub.BatchCancelTasks(task_service_pb2.BatchCancelTasksRequest(task_ids=ids), timeout=10),
            "task_ids",
        ),
    ):
        _expect_invalid(_refusal(call), field)


def test_a_batch_of_more_than_four_mib_is_refused_whole(grpc_stub: Any) -> None:
    batch = _batch(5, payload=value("x" * 850_000))
    _expect_invalid(_refusal(lambda: grpc_stub.BatchSubmitTasks(batch, timeout=10)), "requests")


def test_an_over_long_reason_to_cancel_many_is_refused(grpc_stub: Any) -> None:
    request = task_service_pb2.BatchCancelTasksRequest(task_ids=[UNKNOWN], reason="r" * 1_025)
    _expect_invalid(_refusal(lambda: grpc_stub.BatchCancelTasks(request, timeout=10)), "reason")


def test_a_batch_of_bad_submits_is_answered_item_by_item_and_records_nothing(grpc_stub: Any) -> None:
    cases = list(SUBMITS.values())
    small = [(request, field) for request, field in cases if request.ByteSize() < 100_000]
    batch = task_service_pb2.BatchSubmitTasksRequest(requests=[request for request, _ in small])
    results = grpc_stub.BatchSubmitTasks(batch, timeout=10).results

    assert len(results) == len(small)
    for result, (_, field) in zip(results, small, strict=True):
        bad = error_details_pb2.BadRequest()
        assert any(detail.Unpack(bad) for detail in result.error.details)
        assert [violation.field for violation in bad.field_violations] == [field]


def _batch(items: int, **fields: Any) -> task_service_pb2.BatchSubmitTasksRequest:
    return task_service_pb2.BatchSubmitTasksRequest(requests=[_submit(**fields) for _ in range(items)])


def test_an_unknown_task_is_not_found(grpc_stub: Any) -> None:
    for call in (
        lambda: grpc_stub.GetTask(task_service_pb2.GetTaskRequest(task_id=UNKNOWN), timeout=10),
        lambda: grpc_stub.CancelTask(task_service_pb2.CancelTaskRequest(task_id=UNKNOWN), timeout=10),
        lambda: grpc_stub.RetryTask(task_service_pb2.RetryTaskRequest(task_id=UNKNOWN), timeout=10),
        lambda: list(grpc_stub.WatchTask(task_service_pb2.WatchTaskRequest(task_id=UNKNOWN), timeout=10)),
        lambda: list(grpc_stub.WatchTasks(_watch(task_ids=[UNKNOWN]), timeout=10)),
    ):
        problem = _refusal(call)
        assert problem.code is grpc.StatusCode.NOT_FOUND
        assert (problem.domain, problem.reason) == ("taskcast", "TASK_NOT_FOUND")


def _field(number: int, body: bytes) -> bytes:
    """A length-delimited field in protobuf's wire format."""
    size, length = bytearray(), len(body)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes([number << 3 | 2]) + bytes(size) + body


def _nested(levels: int) -> bytes:
    """A SubmitTaskRequest whose payload is so many lists deep. Protobuf itself would not write it."""
    body = struct_pb2.Value(bool_value=True).SerializeToString()
    for _ in range(levels):
        body = _field(6, _field(1, body))  # Value.list_value, ListValue.values
    return _field(1, b"test.echo") + _field(2, body)


UNREADABLE = {
    "nested deep": _nested(60),
    "nested very deep": _nested(20_000),
    "no message": b"\xff\xff\xff",
    "a type that is not UTF-8": b"\x0a\x02\xc3\x28",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_request_that_cannot_be_read_is_bad_input_like_any_other(grpc_channel: grpc.Channel, body: bytes) -> None:
    send: Any = grpc_channel.unary_unary("/taskcast.v1.TaskService/SubmitTask")
    _expect_invalid(_refusal(lambda: send(body, timeout=10)), "request")


def test_a_watch_that_cannot_be_read_is_bad_input_like_any_other(grpc_channel: grpc.Channel) -> None:
    watch: Any = grpc_channel.unary_stream("/taskcast.v1.TaskService/WatchTask")
    _expect_invalid(_refusal(lambda: list(watch(UNREADABLE["no message"], timeout=10))), "request")
