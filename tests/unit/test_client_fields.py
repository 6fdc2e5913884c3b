from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from taskcast.client.backoff import Backoff
from taskcast.client.fields import to_duration, to_timestamp, to_value

if TYPE_CHECKING:
    from taskcast.client import Json

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | text
documents = st.recursive(
    scalars.filter(lambda value: value not in {float("inf"), float("-inf")}),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(documents)
def test_a_json_document_arrives_as_it_was(document: Json) -> None:
    assert json_format.MessageToDict(to_value(document)) == document


def test_tuples_and_other_mappings_are_json_too() -> None:
    value = to_value(MappingProxyType({"size": (3, 4)}))
    assert json_format.MessageToDict(value) == {"size": [3, 4]}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"a": [1, 2**53 + 1]}, r"payload\.a\[1\] is an integer beyond 2\*\*53"),
        ({"a": float("nan")}, r"payload\.a is nan"),
        ([float("inf")], r"payload\[0\] is inf"),
        ({"a": {"b": b"bytes"}}, r"payload\.a\.b is a bytes"),
        ({"a": {1, 2}}, r"payload\.a is a set"),
        ({"a": "\ud800"}, r"payload\.a is text that UTF-8 cannot hold"),
        ({"\ud800": 1}, "a key of payload is text that UTF-8 cannot hold"),
        ({1: 2}, "a key of payload is a int"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(document: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        to_value(document)


def test_endless_nesting_is_refused() -> None:
    document: list[Any] = []
    document.append(document)
    with pytest.raises(ValueError, match="nested deeper than 32 levels"):
        to_value(document)


@pytest.mark.parametrize(
    ("length", "written"), [(0, "0s"), (1.5, "1.500s"), (timedelta(days=1), "86400s"), (-1, "-1s")]
)
def test_a_length_of_time_is_seconds_or_a_timedelta(length: float | timedelta, written: str) -> None:
    assert to_duration(length, "timeout").ToJsonString() == written


@pytest.mark.parametrize("length", [float("inf"), float("nan"), 1e300])
def test_a_length_of_time_beyond_all_bounds_is_refused(length: float) -> None:
    with pytest.raises(ValueError, match="timeout is no length of time"):
        to_duration(length, "timeout")


def test_a_moment_needs_a_time_zone() -> None:
    assert to_timestamp(datetime(2030, 1, 1, tzinfo=UTC), "schedule_time").ToJsonString() == "2030-01-01T00:00:00Z"
    with pytest.raises(ValueError, match="schedule_time needs a time zone"):
        to_timestamp(datetime(2030, 1, 1), "schedule_time")  # noqa: DTZ001


def test_pauses_double_up_to_two_seconds_and_begin_anew_after_success() -> None:
    backoff = Backoff()
    pauses = [backoff.pause(None) for _ in range(10)]
    for pause, ceiling in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1.6, 2, 2, 2, 2, 2], strict=True):
        assert ceiling / 2 <= pause <= ceiling
    backoff.reset()
    assert backoff.pause(None) <= 0.1


def test_a_pause_is_at_least_what_the_server_asks_for_but_not_the_same_for_all() -> None:
    pauses = {Backoff().pause(2.0) for _ in range(20)}
    assert all(2.0 <= pause <= 2.4 for pause in pauses)
    assert len(pauses) > 1
