"""How things are said: to people in one line each, to programs in JSON."""

from __future__ import annotations

import json
import sys
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

LONGEST_VALUE = 600
"""Characters of a payload or result that are shown to people."""

_UNABBREVIATED = 100_000
_PREFIXES = "kMGTPE"
_LARGEST_EXACT_INTEGER = 2**53


def to_json(message: Message, *, sort_keys: bool = False) -> str:
    """A message as one line of proto3 JSON, whole numbers without a fraction."""
    return json.dumps(
        _whole_numbers(json_format.MessageToDict(message)),
        ensure_ascii=not _writes_unicode(),
        separators=(",", ":"),
        sort_keys=sort_keys,
    )


def one_line(text: str) -> str:
    """Text from somewhere else, fit for one line of a terminal: no control characters, no line breaks."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def value_line(value: Message, task_id: str) -> str:
    """A payload or result for people: one line of JSON, the keys in order, cut off where it gets long."""
    line = one_line(to_json(value, sort_keys=True))
    if len(line) <= LONGEST_VALUE:
        return line
    return f"{line[:LONGEST_VALUE]}… (the whole: taskcast get {task_id} --json)"


def status_word(status: task_pb2.TaskStatus.ValueType) -> str:
    """The name of a status, like PROCESSING; its number if this version does not know it."""
    try:
        return task_pb2.TaskStatus.Name(status).removeprefix("TASK_STATUS_")
    except ValueError:
        return str(status)


def error_line(error: task_pb2.TaskError) -> str:
    """Code and message of a task's error."""
    return one_line(": ".join(part for part in (error.code, error.message) if part)) or "no reason given"


def count(number: int) -> str:
    """A number of units, in a few characters: 99,999 or 123.5M."""
    if number < _UNABBREVIATED:
        return f"{number:,}"
    short = float(number)
    for prefix in _PREFIXES:
        short /= 1_000
        if short < 999.95:
            return f"{short:.1f}{prefix}"
    return f"{number:,}"


def seconds(length: timedelta) -> str:
    """A length of time for people: 2.1 s, 3 min 20 s, 2 h 5 min."""
    total = max(length.total_seconds(), 0.0)
    if total < 59.95:
        return f"{total:.1f} s"
    minutes, rest = divmod(round(total), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def clock(time: Timestamp) -> str:
    """The time of day, here."""
    return f"{time.ToDatetime(tzinfo=UTC).astimezone():%H:%M:%S}"


def moment(time: Timestamp) -> str:
    """Day and time of day, here, with the zone."""
    return f"{time.ToDatetime(tzinfo=UTC).astimezone():%Y-%m-%d %H:%M:%S %z}"


def _whole_numbers(document: Any) -> Any:
    """The same with 3 for 3.0: json_format writes every double with a fraction, other tools do not."""
    match document:
        case float() if document.is_integer() and abs(document) <= _LARGEST_EXACT_INTEGER:
            return int(document)
        case dict():
            return {key: _whole_numbers(item) for key, item in document.items()}
        case list():
            return [_whole_numbers(item) for item in document]
        case _:
            return document


def _writes_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in {"utf8", "utf16", "utf32"}
