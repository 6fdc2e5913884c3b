"""Between JSON and the messages of the contract, with an error for each place that is wrong."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, TypeVar, cast

from google.protobuf import descriptor, duration_pb2, json_format, timestamp_pb2

from gateway_service.faults import InvalidRequestError
from gateway_service.http.json_text import BODY, SAFE_INTEGER
from shared.domain.submission import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.message import Message

    MessageT = TypeVar("MessageT", bound=Message)

DEEPEST = 90
"""Levels of messages within each other that the parser can take. The rules of a payload are stricter."""

_Field = descriptor.FieldDescriptor
_INTEGERS = {
    _Field.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    _Field.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    _Field.CPPTYPE_UINT32: (0, 2**32 - 1),
    _Field.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_WRITTEN_AS_TEXT: dict[str, tuple[type[timestamp_pb2.Timestamp | duration_pb2.Duration], str]] = {
    "google.protobuf.Timestamp": (timestamp_pb2.Timestamp, 'a time such as "2026-01-31T12:00:00Z"'),
    "google.protobuf.Duration": (duration_pb2.Duration, 'a duration in seconds such as "1.5s"'),
}


def to_json(message: Message) -> str:
    """The proto3 JSON of a message, on one line. A whole number has no fraction: what came as 2 goes as 2, not 2.0."""
    return json.dumps(_with_whole_numbers(json_format.MessageToDict(message)), ensure_ascii=False)


def _with_whole_numbers(value: Any) -> Any:
    match value:
        case float():
            return int(value) if abs(value) <= SAFE_INTEGER and value.is_integer() else value
        case dict():
            return {name: _with_whole_numbers(item) for name, item in value.items()}
        case list():
            return [_with_whole_numbers(item) for item in value]
        case _:
            return value


def put_json(value: object, message: MessageT) -> MessageT:
    """Fill `message` with its proto3 JSON. Raises InvalidRequestError, which names every wrong field."""
    try:
        if not isinstance(value, dict):
            raise TypeError("no object")  # noqa: TRY301  # The parser would take a list.
        return json_format.ParseDict(value, message, max_recursion_depth=DEEPEST)
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        # The parser stops at the first thing that is wrong, and names its place only sometimes.
        unexplained = Violation(BODY, f"cannot be read: {str(error).partition(chr(10))[0][:200]}")
        raise InvalidRequestError(
            list(_wrong_in(value, cast("Descriptor", message.DESCRIPTOR), "")) or [unexplained]
        ) from None


def _wrong_in(value: object, kind: Descriptor, path: str) -> Iterator[Violation]:
    """Everything in a JSON value that cannot be a message of `kind`."""
    if kind.full_name == "google.protobuf.Value":
        if not _is_text(value):
            yield Violation(path, "has text that is not Unicode: half of a surrogate pair")
    elif kind.full_name in _WRITTEN_AS_TEXT:
        if not _is_written(value, kind.full_name):
            yield Violation(path, f"must be {_WRITTEN_AS_TEXT[kind.full_name][1]}, is {_named(value)}")
    elif not isinstance(value, dict):
        yield Violation(path or BODY, f"must be an object, is {_named(value)}")
    else:
        fields = {name: field for field in kind.fields for name in (field.name, field.json_name)}
        for name, item in value.items():
            if name not in fields:
                yield Violation(_join(path, name), f"is no field of {kind.name}")
            elif item is not None:
                yield from _wrong_in_field(item, fields[name], _join(path, fields[name].name))


def _wrong_in_field(value: object, field: FieldDescriptor, path: str) -> Iterator[Violation]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        if not isinstance(value, dict):
            yield Violation(path, f"must be an object, is {_named(value)}")
            return
        for key, item in value.items():
            yield from _wrong_in_item(item, kind.fields_by_name["value"], f"{path}[{key[:80]!r}]")
    elif field.is_repeated:
        if not isinstance(value, list):
            yield Violation(path, f"must be an array, is {_named(value)}")
            return
        for index, item in enumerate(value):
            yield from _wrong_in_item(item, field, f"{path}[{index}]")
    else:
        yield from _wrong_in_item(value, field, path)


def _wrong_in_item(value: object, field: FieldDescriptor, path: str) -> Iterator[Violation]:
    if field.message_type is not None:
        yield from _wrong_in(value, field.message_type, path)
    elif wanted := _wanted(value, field):
        yield Violation(path, f"must be {wanted}, is {_named(value)}")


def _wanted(value: object, field: FieldDescriptor) -> str:
    """What a scalar field wants, if `value` is not it."""
    match field.cpp_type:
        case _Field.CPPTYPE_STRING:
            return "" if isinstance(value, str) and _is_text(value) else "text"
        case _Field.CPPTYPE_BOOL:
            return "" if isinstance(value, bool) else "true or false"
        case _Field.CPPTYPE_ENUM:
            names = [one.name for one in cast("EnumDescriptor", field.enum_type).values]
            return "" if value in names else f"one of {', '.join(names)}"
        case _Field.CPPTYPE_DOUBLE | _Field.CPPTYPE_FLOAT:
            return "" if _number(value) is not None else "a number"
        case _:
            least, most = _INTEGERS[field.cpp_type]
            number = _number(value)
            fits = number is not None and number == int(number) and least <= number <= most
            return "" if fits else f"a whole number from {least} to {most}"


def _number(value: object) -> float | None:
    """The number that proto3 JSON reads in a number, or in text that holds one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_written(value: object, name: str) -> bool:
    if not isinstance(value, str):
        return False
    try:
        _WRITTEN_AS_TEXT[name][0]().FromJsonString(value)
    except ValueError:
        return False
    return True


def _is_text(value: object) -> bool:
    """Whether every text in a JSON value is Unicode."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {value[:40]!a}"
        case int() | float():
            return f"the number {value}"
        case list():
            return "an array"
        case _:
            return "an object"


def _join(path: str, name: str) -> str:
    # A name that is not Unicode could not stand in the answer.
    shown = name[:80].encode(errors="backslashreplace").decode()
    return f"{path}.{shown}" if path else shown
