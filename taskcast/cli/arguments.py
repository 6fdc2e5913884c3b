"""What people write on the command line, and what it means."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from taskcast.client.fields import to_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from taskcast.client import Json

STANDARD_INPUT = "-"

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def parse_duration(text: str) -> timedelta:
    """A length of time like `500ms`, `30s`, `1.5h` or `1d12h`; `0` needs no unit."""
    if text == "0":
        return timedelta(0)
    if not re.fullmatch(rf"(?:{_PART.pattern})+", text):
        raise typer.BadParameter(
            f"{text!r} is no duration: write a number and its unit, like 500ms, 30s, 5m, 2h or 1d."
        )
    try:
        return sum((float(number) * _UNITS[unit] for number, unit in _PART.findall(text)), timedelta(0))
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is longer than anything lasts.") from None


def parse_labels(pairs: Sequence[str]) -> dict[str, str]:
    """The labels of `key=value` pairs."""
    labels: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{pair!r} is no label: write key=value.", param_hint="--label")
        if key in labels:
            raise typer.BadParameter(f"The label {key!r} is given twice.", param_hint="--label")
        labels[key] = value
    return labels


def read_payload(text: str | None, file: Path | None, source: str | None) -> Json:
    """The payload, from whichever of the three places it is given in; null if in none.

    `text` is the JSON itself, `file` names a file that holds it (`-` for standard input), `source` may be `-`.
    """
    if source not in {None, STANDARD_INPUT}:
        raise typer.BadParameter(
            f"{source!r} is one argument too many: the payload is given with --payload or --payload-file, "
            "or as - to read it from standard input."
        )
    if sum(place is not None for place in (text, file, source)) > 1:
        raise typer.BadParameter("The payload is given twice: use one of --payload, --payload-file and -.")
    if text is not None:
        return _parse_json(text, "--payload")
    if source is not None or (file is not None and str(file) == STANDARD_INPUT):
        return _parse_json(_decode(sys.stdin.buffer.read(), "standard input"), "standard input")
    if file is not None:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise typer.BadParameter(f"{file} cannot be read: {error.strerror}.", param_hint="--payload-file") from None
        return _parse_json(_decode(content, str(file)), str(file))
    return None


def _decode(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"What {where} holds is not UTF-8 text: byte {error.start} is wrong.") from None


def _parse_json(text: str, where: str) -> Json:
    try:
        document: Any = json.loads(text, parse_constant=_refuse_constant)
        # What JSON can say and a task's payload cannot, such as integers of twenty digits.
        to_value(document)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise typer.BadParameter(f"What {where} holds is not JSON: {error.msg} at {place}.") from None
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"What {where} holds cannot be a payload: {error}.") from None
    payload: Json = document
    return payload


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
