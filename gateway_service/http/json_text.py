"""Reading JSON as strictly as RFC 7493 asks: nothing is rounded, dropped or guessed."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from gateway_service.faults import InvalidRequestError
from shared.domain.submission import Violation

BODY = "body"
"""What errors call the JSON as a whole."""

SAFE_INTEGER = 2**53


def load_json(body: bytes) -> object:
    """The value of a JSON text. Raises InvalidRequestError, which says where the text is wrong."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        _refuse(f"is not UTF-8: byte {error.start + 1} cannot be read")
    try:
        value: object = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        _refuse(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError:
        _refuse("is nested too deep")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        _refuse(f"has the name {twice[:80]!r} twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > SAFE_INTEGER:
        _refuse(f"has the integer {text[:40]}, beyond 2**53, which a JSON number rounds; send it as text")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse(f"has the number {text[:40]}, which is too large")
    return number


def _constant(text: str) -> NoReturn:
    _refuse(f"has {text}, which is no JSON")


def _refuse(description: str) -> NoReturn:
    raise InvalidRequestError([Violation(BODY, description)]) from None
