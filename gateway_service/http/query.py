"""The query of a request: every name known, each given as often as it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import InvalidRequestError
from shared.domain.submission import Violation

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request


class Query:
    """What a request's query says. A name may be written as in the contract or as in its JSON."""

    def __init__(self, request: Request, *, once: Collection[str] = (), repeated: Collection[str] = ()) -> None:
        """Raises InvalidRequestError for a name that is in neither, and for one of `once` that is repeated."""
        self._given: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            self._given.setdefault(_as_in_the_contract(name), []).append(value)
        wrong = [
            Violation(name[:80], "may be given once only" if name in once else "is no parameter of this path")
            for name, values in self._given.items()
            if name not in repeated and (name not in once or len(values) > 1)
        ]
        if wrong:
            raise InvalidRequestError(wrong)

    def given(self, *names: str) -> dict[str, str]:
        """The values of those of `names` that are given."""
        return {name: self._given[name][0] for name in names if name in self._given}

    def all_of(self, name: str) -> list[str]:
        """The values of a parameter that may be repeated."""
        return self._given.get(name, [])


def _as_in_the_contract(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
