from __future__ import annotations

import json
import math
from types import MappingProxyType
from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import given, settings

from shared.json_values import (
    DEEPEST,
    NotJsonError,
    check_json,
    decode_json,
    encode_json,
    encode_json_object,
)
from taskcast.v1 import task_service_pb2
from tests.unit.domain.strategies import json_values


def nested(levels: int, *, in_lists: bool) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if in_lists else {"a": value}
    return value


@given(json_values)
@settings(max_examples=100, deadline=None)
def test_what_is_encoded_comes_back_as_it_was(value: Any) -> None:
    encoded = encode_json(value, "value")
    # As text, since to Python 1, 1.0 and True are equal.
    assert json.dumps(decode_json(encoded), sort_keys=True) == json.dumps(value, sort_keys=True)
    check_json(struct_pb2.Value.FromString(encoded), "value")


@given(json_values)
@settings(max_examples=50, deadline=None)
def test_the_same_value_is_always_the_same_bytes(value: Any) -> None:
    again = json.loads(json.dumps(value))
    assert encode_json(value, "value") == encode_json(again, "value")


def test_tuples_and_other_mappings_are_taken_too() -> None:
    value = {"pair": (1, 2), "settings": MappingProxyType({"a": 1})}
    assert decode_json(encode_json(value, "value")) == {"pair": [1, 2], "settings": {"a": 1}}
    assert encode_json_object(MappingProxyType({"a": 1}), "detail") == encode_json_object({"a": 1}, "detail")


@pytest.mark.parametrize(
    ("number", "comes_back"),
    [(1.0, 1), (-3.0, -3), (2**53, 2**53), (-(2**53), -(2**53)), (0.5, 0.5), (1e300, 1e300), (2.0**60, 2.0**60)],
)
def test_whole_numbers_come_back_as_int_while_they_are_exact(number: float, comes_back: float) -> None:
    decoded = decode_json(encode_json(number, "n"))
    assert decoded == comes_back
    assert type(decoded) is type(comes_back)


def test_nothing_and_an_unset_value_are_null() -> None:
    assert decode_json(encode_json(None, "nothing")) is None
    assert decode_json(b"") is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), r"result is a object, which JSON cannot hold"),
        ({"a": [1, {"b": {1, 2}}]}, r"result\.a\[1\]\.b is a set, which JSON cannot hold"),
        (b"bytes", r"result is a bytes, which JSON cannot hold"),
        ({"a": {1: 2}}, r"result\.a has the key 1, and JSON keys are text"),
        ({None: 2}, r"result has the key None, and JSON keys are text"),
        ([math.nan], r"result\[0\] is nan, which JSON cannot hold"),
        ({"x": math.inf}, r"result\.x is inf, which JSON cannot hold"),
        ([1, -math.inf], r"result\[1\] is -inf, which JSON cannot hold"),
        ({"id": 2**53 + 1}, r"result\.id is an integer beyond 2\*\*53.*pass it as text"),
        (-(2**64), r"result is an integer beyond 2\*\*53"),
        (10**400, r"result is an integer beyond 2\*\*53"),
        (["\ud800"], r"result\[0\] is text that UTF-8 cannot hold"),
        ([{"\ud800": 1}], r"result\[0\] has the key '\\ud800', which UTF-8 cannot hold"),
        (nested(DEEPEST + 1, in_lists=True), rf"nested deeper than {DEEPEST} levels"),
        (nested(DEEPEST + 1, in_lists=False), rf"nested deeper than {DEEPEST} levels"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_place_and_reason(value: Any, said: str) -> None:
    with pytest.raises(NotJsonError, match=said):
        encode_json(value, "result")


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotJsonError, match="nested deeper"):
        encode_json(endless, "result")


@pytest.mark.parametrize("in_lists", [True, False])
def test_the_deepest_value_fits_into_every_message_of_the_contract(in_lists: bool) -> None:
    value = nested(DEEPEST, in_lists=in_lists)
    answer = task_service_pb2.BatchGetTasksResponse()
    answer.results.add().task.result.MergeFromString(encode_json(value, "value"))
    read = task_service_pb2.BatchGetTasksResponse.FromString(answer.SerializeToString())
    check_json(read.results[0].task.result, "result")
    assert decode_json(read.results[0].task.result.SerializeToString()) == value


@pytest.mark.parametrize("value", [[1], "text", None, 3])
def test_only_a_mapping_is_an_object(value: Any) -> None:
    with pytest.raises(NotJsonError, match="detail must be a mapping, is"):
        encode_json_object(value, "detail")


def value_of(**fields: Any) -> struct_pb2.Value:
    return struct_pb2.Value(**fields)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (value_of(), r"payload has no value set"),
        (value_of(number_value=math.nan), r"payload is nan"),
        (
            value_of(list_value=struct_pb2.ListValue(values=[value_of(bool_value=True), value_of()])),
            r"payload\[1\] has no value set",
        ),
        (
            value_of(struct_value=struct_pb2.Struct(fields={"a": value_of(number_value=math.inf)})),
            r"payload\.a is inf",
        ),
    ],
)
def test_a_message_that_holds_no_json_is_refused_by_place(message: struct_pb2.Value, said: str) -> None:
    with pytest.raises(NotJsonError, match=said):
        check_json(message, "payload")


def test_a_message_nested_too_deep_is_refused() -> None:
    message = struct_pb2.Value(bool_value=True)
    for _ in range(DEEPEST + 1):
        message = struct_pb2.Value(list_value=struct_pb2.ListValue(values=[message]))
    with pytest.raises(NotJsonError, match=f"deeper than {DEEPEST}"):
        check_json(message, "payload")
