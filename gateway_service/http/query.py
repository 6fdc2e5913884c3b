"""Queries of requests, read as fields of the contract's messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway_service.faults import InvalidRequestError
from shared.domain.submission import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class Parameter:
    """One name that a query may have."""

    name: str
    """As it is documented. The spelling of the contract, with underscores, is read as well."""
    field: str
    """The path of the field that it sets."""
    repeated: bool = False
    is_map: bool = False
    """Each value is `key=value`."""


FILTER = (
    Parameter("status", "filter.statuses", repeated=True),
    Parameter("type", "filter.type"),
    Parameter("queue", "filter.queue"),
    Parameter("label", "filter.labels", repeated=True, is_map=True),
    Parameter("createTimeAfter", "filter.create_time_after"),
    Parameter("createTimeBefore", "filter.create_time_before"),
)
"""What a TaskFilter is in a query."""


def read_query(request: Request, parameters: Sequence[Parameter] = ()) -> dict[str, Any]:
    """The fields that a request's query sets, as the JSON of a message.

    Raises InvalidRequestError for a name that is not among `parameters`, and for one that is repeated in vain.
    """
    known = {_plain(parameter.name): parameter for parameter in parameters}
    given: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        given.setdefault(_plain(name), []).append(value)
    wrong = [Violation(name[:80], "is no parameter of this path") for name in given if name not in known]
    found: dict[str, Any] = {}
    for name, values in given.items():
        parameter = known.get(name)
        if parameter is None:
            continue
        if len(values) > 1 and not parameter.repeated:
            wrong.append(Violation(name, "may be given once only"))
        elif parameter.is_map and not all("=" in value for value in values):
            wrong.append(Violation(name, "must be key=value"))
        else:
            _set(found, parameter, values)
    if wrong:
        raise InvalidRequestError(wrong)
    return found


def _set(found: dict[str, Any], parameter: Parameter, values: list[str]) -> None:
    *parents, last = parameter.field.split(".")
    owner = found
    for parent in parents:
        owner = owner.setdefault(parent, {})
    if parameter.is_map:
        owner[last] = dict(value.split("=", 1) for value in values)
    else:
        owner[last] = values if parameter.repeated else values[0]


def _plain(name: str) -> str:
    """A name of either spelling, in the one with underscores."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
