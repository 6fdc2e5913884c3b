"""From plain Python values to the well-known messages of a request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias, Union

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2

Json: TypeAlias = Union[bool, int, float, str, Sequence["Json"], Mapping[str, "Json"], None]  # noqa: UP007
"""What JSON can say."""

Seconds: TypeAlias = float | timedelta
"""A length of time: a number of seconds, or a timedelta."""

_DEEPEST = 32
_LARGEST_EXACT_INTEGER = 2**53


def to_value(payload: Json, where: str = "payload") -> struct_pb2.Value:
    """A JSON value as a `Value`.

    Raises ValueError, which names the place, for what JSON or its numbers, which are doubles, cannot hold.
    """
    value = struct_pb2.Value()
    _put(payload, value, where, 0)
    return value


def to_duration(length: Seconds, where: str) -> duration_pb2.Duration:
    """A length of time as a `Duration`, to the microsecond. Raises ValueError if it cannot be written."""
    duration = duration_pb2.Duration()
    try:
        duration.FromTimedelta(length if isinstance(length, timedelta) else timedelta(seconds=length))
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{where} is no length of time: {error}") from error
    return duration


def to_timestamp(time: datetime, where: str) -> timestamp_pb2.Timestamp:
    """An aware datetime as a `Timestamp`. Raises ValueError for a naive one: it may mean any moment."""
    if time.utcoffset() is None:
        raise ValueError(f"{where} needs a time zone, like datetime.now(UTC) has one")
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def _put(source: Json, target: struct_pb2.Value, where: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"the payload is nested deeper than {_DEEPEST} levels")
    match source:
        case Mapping():
            target.struct_value.SetInParent()
            for key, item in source.items():
                _put(
                    item,
                    target.struct_value.fields[_text(key, f"a key of {where}")],
                    f"{where}.{key}",
                    depth + 1,
                )
        case list() | tuple():
            target.list_value.SetInParent()
            for index, item in enumerate(source):
                _put(item, target.list_value.values.add(), f"{where}[{index}]", depth + 1)
        case _:
            _put_scalar(source, target, where)


def _put_scalar(source: Json, target: struct_pb2.Value, where: str) -> None:
    match source:
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool():
            target.bool_value = source
        case int() | float():
            target.number_value = _exact(source, where)
        case str():
            target.string_value = _text(source, where)
        case _:
            raise ValueError(f"{where} is a {type(source).__name__}, which JSON cannot hold")


def _text(text: object, where: str) -> str:
    if not isinstance(text, str):
        raise ValueError(f"{where} is a {type(text).__name__}, and JSON wants text there")  # noqa: TRY004
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where} is text that UTF-8 cannot hold") from error
    return text


def _exact(number: float, where: str) -> float:
    if isinstance(number, int) and abs(number) > _LARGEST_EXACT_INTEGER:
        raise ValueError(f"{where} is an integer beyond 2**53, which a JSON number rounds; pass it as text")
    if not math.isfinite(number):
        raise ValueError(f"{where} is {number}, which JSON cannot hold")
    return float(number)
