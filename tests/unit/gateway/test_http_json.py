"""JSON in and out: nothing is rounded or dropped, and what is wrong is named."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from gateway_service.faults import InvalidRequestError
from gateway_service.http.json_message import put_json, to_json
from gateway_service.http.json_text import load_json
from taskcast.v1 import admin_service_pb2, task_pb2
from taskcast.v1 import task_service_pb2 as pb

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _wrong(value: object, message: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        put_json(value, message)
    return {violation.field: violation.description for violation in caught.value.violations}


@given(JSON)
def test_what_goes_in_as_payload_comes_out_the_same(payload: Any) -> None:
    body = json.dumps({"type": "a", "payload": payload}).encode()
    request = put_json(load_json(body), pb.SubmitTaskRequest())
    assert json.loads(to_json(request)).get("payload") == payload


@given(JSON)
def test_whatever_is_given_is_read_or_refused_in_words(value: Any) -> None:
    for kind in (pb.SubmitTaskRequest, pb.BatchSubmitTasksRequest, pb.ListTasksRequest):
        try:
            put_json(value, kind())
        except InvalidRequestError as error:
            str(error).encode()  # It can be sent.


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,0123456789.eE+-truefalsn\\u ', max_size=60).map(str.encode))
def test_whatever_bytes_come_are_json_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidRequestError):
        assert load_json(body) == json.loads(body)


@pytest.mark.parametrize(
    ("value", "kind", "field"),
    [
        ({"filter": {"createTimeAfter": 5}}, pb.ListTasksRequest, "filter.create_time_after"),
        ({"filter": {"statuses": "WAITING"}}, pb.ListTasksRequest, "filter.statuses"),
        ({"filter": {"statuses": [None]}}, pb.ListTasksRequest, "filter.statuses[0]"),
        ({"filter": {"labels": {"a": {}}}}, pb.ListTasksRequest, "filter.labels['a']"),
        ({"pageSize": 2**31}, pb.ListTasksRequest, "page_size"),
        ({"pageSize": "many"}, pb.ListTasksRequest, "page_size"),
        ({"requests": [{}, 5]}, pb.BatchSubmitTasksRequest, "requests[1]"),
        ({"requests": [{"type": []}]}, pb.BatchSubmitTasksRequest, "requests[0].type"),
        ({"duplicate": "yes"}, pb.SubmitTaskResponse, "duplicate"),
        ({"rate": "fast"}, admin_service_pb2.Queue, "rate"),
        ({"sequence": 2**63}, task_pb2.Task, "sequence"),
    ],
)
def test_the_place_is_named_as_the_contract_names_it(value: object, kind: Any, field: str) -> None:
    assert field in _wrong(value, kind())


def test_a_oneof_given_twice_is_refused() -> None:
    both = {"deliveryId": "a", "failed": {"url": "https://x"}}
    assert "oneof" in _wrong(both, admin_service_pb2.RedeliverWebhookRequest())["body"]


def test_both_spellings_and_numbers_as_text_are_read() -> None:
    given_ = {"retry_policy": {"maxAttempts": "5"}, "attemptTimeout": "1.5s", "type": None}
    request = put_json(given_, pb.SubmitTaskRequest())
    assert request.retry_policy.max_attempts == 5
    assert request.attempt_timeout.ToMilliseconds() == 1_500
    assert request.type == ""


def test_an_answer_is_the_proto3_json_of_its_message() -> None:
    task = task_pb2.Task(id="x", sequence=2**60, labels={"ä": "\n"}, progress=task_pb2.TaskProgress(percent=50))
    written = to_json(task)
    assert "\n" not in written
    assert json.loads(written) == json_format.MessageToDict(task)
    assert '"percent": 50}' in written
