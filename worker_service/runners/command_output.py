"""What a command says on its standard output: a JSON object a line, with one of four keys.

{"progress": {"percent": 40, "message": "page 4"}}     as often as it likes; the fields are those of ctx.progress
{"result": {"pages": 10}}                              SUCCESS, if the command then ends with exit code 0
{"failed": {"code": "EMPTY", "message": "No pages."}}  FAILED, never retried
{"retry": {"after": 30, "message": "Not ready."}}      another attempt; both fields may be left out
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.domain.commands import Abort
from shared.domain.task import TaskError, TaskProgress
from worker_service.context import make_progress
from worker_service.outcome import RetryLater, TaskFailed, of_exception, of_result

if TYPE_CHECKING:
    from worker_service.outcome import Outcome

FIELDS = {
    "progress": {"percent", "message", "completed", "total", "detail"},
    "failed": {"code", "message"},
    "retry": {"after", "message"},
}
LONGEST_QUOTE = 100


class BadOutputError(Exception):
    """A line that says nothing known; the message quotes it and says why."""


def read_line(line: bytes, attempt: int, *, after: Outcome | None, max_result_bytes: int) -> TaskProgress | Outcome:
    """Progress, or how the attempt ends. Nothing may come `after` an outcome. Raises BadOutputError."""
    if after is not None:
        raise BadOutputError(f"{_quoted(line)} comes after the outcome, which is the last word")
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise BadOutputError(f"{_quoted(line)} is not JSON") from None
    if not isinstance(said, dict) or len(said) != 1 or not set(said) <= {*FIELDS, "result"}:
        raise BadOutputError(f"{_quoted(line)} is no object with one key of progress, result, failed and retry")
    [(key, value)] = said.items()
    if key == "result":
        return of_result(attempt, value, max_bytes=max_result_bytes)
    fields = _fields(key, value)
    try:
        match key:
            case "progress":
                return make_progress(
                    fields.get("percent"),
                    fields.get("message", ""),
                    fields.get("completed"),
                    fields.get("total"),
                    fields.get("detail"),
                )
            case "failed":
                return of_exception(attempt, TaskFailed(fields["code"], fields.get("message", "")))
            case _:
                return of_exception(attempt, RetryLater(after=fields.get("after"), message=fields.get("message", "")))
    except (ValueError, TypeError, KeyError) as error:
        raise BadOutputError(f"{_quoted(line)}: {key} makes no sense: {error}") from None


def bad_output(attempt: int, number: int, why: str) -> Outcome:
    """ERROR: a repetition would say the same."""
    message = f"Line {number} of the command's standard output: {why}."
    return Abort(attempt=attempt, error=TaskError(code="BAD_OUTPUT", message=message))


def _fields(key: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadOutputError(f"{key} must be an object, is {_quoted(json.dumps(value).encode())}")
    unknown = sorted(set(value) - FIELDS[key])
    if unknown:
        raise BadOutputError(f"{key} has {', '.join(unknown)}, there are {', '.join(sorted(FIELDS[key]))}")
    return value


def _quoted(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…")
