"""Between Python values and `google.protobuf.Value`, with errors that say where the trouble is.

`json_format` does the same at several times the cost, and its messages do not name the place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from google.protobuf import struct_pb2

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

DEEPEST = 32
"""Levels of nesting. Protobuf parsers refuse more than 100 messages within each other: a level of an object takes
three, of a list two, and the contract's own messages stand around the whole."""

_SAFE_INTEGER = 2**53


class NotJsonError(ValueError):
    """A value that JSON, as protobuf's Value carries it, cannot hold; the message says where and why."""


def encode_json(value: object, what: str) -> bytes:
    """A Python value as an encoded `Value`. `what` names it in errors, like "result".

    Takes None, bool, int, float, str, and lists, tuples and string-keyed mappings of them. Numbers are doubles,
    so integers beyond 2**53 are refused rather than rounded. Raises NotJsonError.
    """
    message = struct_pb2.Value()
    _put(value, message, what, 0)
    return message.SerializeToString(deterministic=True)


def encode_json_object(value: Mapping[str, object], what: str) -> bytes:
    """A string-keyed mapping as an encoded `Struct`. Raises NotJsonError."""
    message = struct_pb2.Value()
    _put(value, message, what, 0)
    if not message.HasField("struct_value"):
        raise NotJsonError(f"{what} must be a mapping, is {type(value).__name__}")
    return message.struct_value.SerializeToString(deterministic=True)


def decode_json(body: bytes) -> JsonValue:
    """The Python value of an encoded `Value`. Whole numbers come back as int."""
    return _take(struct_pb2.Value.FromString(body))


def check_json(value: struct_pb2.Value, what: str, depth: int = 0) -> None:
    """Raises NotJsonError where a Value holds no JSON: a number that is not finite, an unset value, too many levels."""
    if depth > DEEPEST:
        raise NotJsonError(f"{what} is nested deeper than {DEEPEST} levels")
    match value.WhichOneof("kind"):
        case "number_value":
            if not math.isfinite(value.number_value):
                raise NotJsonError(f"{what} is {value.number_value}, which JSON cannot hold")
        case "struct_value":
            for key, item in value.struct_value.fields.items():
                check_json(item, f"{what}.{key}", depth + 1)
        case "list_value":
            for index, item in enumerate(value.list_value.values):
                check_json(item, f"{what}[{index}]", depth + 1)
        case None:
            raise NotJsonError(f"{what} has no value set")
        case _:
            pass


def _put(value: object, message: struct_pb2.Value, where: str, depth: int) -> None:  # noqa: C901, PLR0912  # One case a JSON type.
    if depth > DEEPEST:
        raise NotJsonError(f"{where} is nested deeper than {DEEPEST} levels")
    match value:
        case None:
            message.null_value = struct_pb2.NULL_VALUE
        case bool():
            message.bool_value = value
        case str():
            try:
                message.string_value = value
            except ValueError as error:
                raise NotJsonError(f"{where} is text that UTF-8 cannot hold") from error
        case int() | float():
            message.number_value = _number(value, where)
        case list() | tuple():
            message.list_value.SetInParent()
            for index, item in enumerate(value):
                _put(item, message.list_value.values.add(), f"{where}[{index}]", depth + 1)
        case Mapping():
            message.struct_value.SetInParent()
            for key, item in value.items():
                if not isinstance(key, str):
                    raise NotJsonError(f"{where} has the key {key!r}, and JSON keys are text")
                try:
                    field = message.struct_value.fields[key]
                except UnicodeEncodeError as error:
                    raise NotJsonError(f"{where} has the key {key!r}, which UTF-8 cannot hold") from error
                _put(item, field, f"{where}.{key}", depth + 1)
        case _:
            raise NotJsonError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def _number(value: float, where: str) -> float:
    if isinstance(value, int) and abs(value) > _SAFE_INTEGER:
        raise NotJsonError(f"{where} is an integer beyond 2**53, which a JSON number rounds; pass it as text")
    if not math.isfinite(value):
        raise NotJsonError(f"{where} is {value}, which JSON cannot hold")
    return float(value)


def _take(message: struct_pb2.Value) -> JsonValue:
    match message.WhichOneof("kind"):
        case "number_value":
            number = message.number_value
            return int(number) if number.is_integer() and abs(number) <= _SAFE_INTEGER else number
        case "string_value":
            return message.string_value
        case "bool_value":
            return message.bool_value
        case "struct_value":
            return {key: _take(item) for key, item in message.struct_value.fields.items()}
        case "list_value":
            return [_take(item) for item in message.list_value.values]
        case _:
            return None
