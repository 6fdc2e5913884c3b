"""Reading a payload field by field: whoever sent a bad one is told which field is wrong, and how."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from worker_service import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Collection

BAD_PAYLOAD = "BAD_PAYLOAD"


def check_fields(payload: Any, known: Collection[str]) -> dict[str, Any]:
    """The payload, if it is an object without fields that nobody reads; null is an empty object.

    Raises TaskFailed (BAD_PAYLOAD).
    """
    if payload is None:
        return {}
    if not isinstance(payload, dict):
        raise TaskFailed(BAD_PAYLOAD, f"The payload must be an object with the fields {', '.join(sorted(known))}.")
    unknown = sorted(set(payload) - set(known))
    if unknown:
        raise TaskFailed(BAD_PAYLOAD, f"payload.{unknown[0]} is not known; the fields are {', '.join(sorted(known))}.")
    return payload


def text_field(payload: dict[str, Any], name: str, default: str | None = None) -> str:
    """A field that holds text, not empty. Without a default it is required. Raises TaskFailed (BAD_PAYLOAD)."""
    value = payload.get(name, default)
    if not isinstance(value, str) or not value:
        raise TaskFailed(BAD_PAYLOAD, f"payload.{name} must be text, and not empty.")
    if "\0" in value:
        raise TaskFailed(BAD_PAYLOAD, f"payload.{name} must not contain the character 0.")
    return value


def number_field(payload: dict[str, Any], name: str, *, default: float, lowest: float, highest: float) -> float:
    """A field that holds a number within bounds. Raises TaskFailed (BAD_PAYLOAD)."""
    value = payload.get(name, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not lowest <= value <= highest:
        raise TaskFailed(BAD_PAYLOAD, f"payload.{name} must be a number between {lowest:g} and {highest:g}.")
    return float(value)


def whole_number_field(payload: dict[str, Any], name: str, *, default: int, lowest: int, highest: int) -> int:
    """A field that holds a whole number within bounds. Raises TaskFailed (BAD_PAYLOAD)."""
    value = number_field(payload, name, default=default, lowest=lowest, highest=highest)
    if not value.is_integer():
        raise TaskFailed(BAD_PAYLOAD, f"payload.{name} must be a whole number.")
    return int(value)
