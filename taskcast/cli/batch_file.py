"""A file with a task on each line, as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from google.protobuf import json_format

from taskcast.cli.arguments import STANDARD_INPUT
from taskcast.client.fields import to_value
from taskcast.v1 import task_service_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Line:
    """A task to submit, and where it stands."""

    number: int
    request: task_service_pb2.SubmitTaskRequest


class WrongLinesError(Exception):
    """Lines of a batch are no tasks. `str(error)` names each with its number, on a line of its own."""

    def __init__(self, name: str, complaints: Sequence[str]) -> None:
        told = list(complaints[:_MOST_TOLD])
        if len(complaints) > len(told):
            told.append(f"and {len(complaints) - len(told)} more")
        super().__init__("\n".join([f"Nothing was submitted: {name} has lines that are no tasks.", *told]))


def read_batch(file: Path) -> list[Line]:
    """The tasks of a file, `-` being standard input. Empty lines are passed over.

    Each line is a SubmitTaskRequest in proto3 JSON, like {"type": "demo.steps", "payload": {"steps": 3}}.

    Raises:
        BadParameter: the file cannot be read.
        WrongLinesError: lines are wrong.
    """
    lines: list[Line] = []
    complaints: list[str] = []
    for number, content in enumerate(_content(file).split(b"\n"), start=1):
        if not content.strip():
            continue
        try:
            lines.append(Line(number, _request(content)))
        except ValueError as error:
            complaints.append(f"line {number}: {error}")
        except RecursionError:
            complaints.append(f"line {number}: it is nested too deep")
    if complaints:
        raise WrongLinesError(_name(file), complaints)
    return lines


def _content(file: Path) -> bytes:
    try:
        content = sys.stdin.buffer.read() if str(file) == STANDARD_INPUT else file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}.") from None
    return content.removeprefix(b"\xef\xbb\xbf")


def _name(file: Path) -> str:
    return "standard input" if str(file) == STANDARD_INPUT else str(file)


def _request(content: bytes) -> task_service_pb2.SubmitTaskRequest:
    """Raises ValueError, with what is wrong."""
    try:
        document: Any = json.loads(content.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text: byte {error.start} is wrong") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(document, dict):
        raise ValueError('it is no JSON object like {"type": "demo.steps", "payload": {"steps": 3}}')  # noqa: TRY004
    payload = document.pop("payload", None)
    request = task_service_pb2.SubmitTaskRequest()
    try:
        json_format.ParseDict(document, request)
    except json_format.ParseError as error:
        raise ValueError(_in_our_words(str(error))) from None
    if not request.type:
        raise ValueError("it has no type")
    request.payload.CopyFrom(to_value(payload))
    return request


def _in_our_words(complaint: str) -> str:
    """What the parser says, without its names of classes and its lists of all fields."""
    first = complaint.splitlines()[0].partition(" Available Fields")[0]
    first = first.removesuffix(' at "SubmitTaskRequest".')
    return first.replace('Message type "taskcast.v1.SubmitTaskRequest"', "a task").replace("SubmitTaskRequest.", "")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
