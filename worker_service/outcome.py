"""How a handler may end other than by returning, and how each end is reported."""

from __future__ import annotations

from shared.domain.commands import Abort, Fail, HandBack, Retry, Succeed
from shared.domain.task import TaskError
from shared.json_values import NotJsonError, encode_json

LONGEST_MESSAGE = 2_048
"""Characters of an error message that are kept."""

Outcome = Succeed | Fail | Retry | Abort | HandBack


class TaskFailed(Exception):  # It says what happened to the task, in the words of its status.
    """Raise it in a handler to end the task as FAILED: it cannot succeed, so it is not retried."""

    def __init__(self, code: str, message: str = "") -> None:
        """`code` is for programs, like `EMPTY`; `message` for people."""
        super().__init__(code, message)
        # Handlers like to pass numbers and exceptions, too; the record takes text.
        self.code = str(code)
        self.message = str(message)


class RetryLater(Exception):  # It is a request, not an error.
    """Raise it in a handler to have another attempt, as far as the retry policy allows one."""

    def __init__(self, *, after: float | None = None, message: str = "") -> None:
        """`after`: seconds until then; by default the policy's back-off. Raises ValueError if negative."""
        if after is not None and not 0 <= after <= 315_360_000:
            raise ValueError(f"after must be between 0 seconds and ten years, is {after}")
        super().__init__(after, message)
        self.after = after
        self.message = str(message)


class TaskCancelled(Exception):  # Like asyncio.CancelledError, it is no error.
    """Raised by `ctx.progress` in a thread when the task was cancelled, has timed out or runs elsewhere."""


def of_result(attempt: int, result: object, *, max_bytes: int) -> Outcome:
    """SUCCESS with what the handler returned; ERROR if JSON cannot hold it or it is too large."""
    try:
        encoded = encode_json(result, "result")
    except NotJsonError as error:
        return Abort(attempt=attempt, error=TaskError(code="RESULT_NOT_JSON", message=_cut(f"The handler's {error}.")))
    if len(encoded) > max_bytes:
        message = f"The handler's result is {len(encoded)} bytes encoded, the limit is {max_bytes}: store it elsewhere."
        return Abort(attempt=attempt, error=TaskError(code="RESULT_TOO_LARGE", message=message))
    return Succeed(attempt=attempt, result=encoded)


def of_exception(attempt: int, raised: BaseException) -> Outcome:
    """What follows from an exception that a handler let out."""
    match raised:
        case TaskFailed():
            return Fail(attempt=attempt, error=TaskError(code=_cut(raised.code), message=_cut(raised.message)))
        case RetryLater():
            error = TaskError(code="RETRY_LATER", message=_cut(raised.message or "The handler asked for another try."))
            after = None if raised.after is None else round(raised.after * 1_000)
            return Retry(attempt=attempt, error=error, after=after)
        case _:
            return Retry(attempt=attempt, error=TaskError(code="UNHANDLED_EXCEPTION", message=_described(raised)))


def unknown_type(attempt: int, type_: str) -> Outcome:
    """ERROR: no handler of this worker serves the task's type."""
    message = f"No handler for type {type_!r} is installed in the worker that took the task."
    return Abort(attempt=attempt, error=TaskError(code="UNKNOWN_TASK_TYPE", message=message))


def _described(raised: BaseException) -> str:
    name = type(raised).__name__
    try:
        text = str(raised)
    except Exception:  # noqa: BLE001  # It is the handler's own class, and its name still says something.
        text = ""
    return _cut(f"{name}: {text}" if text else name)


def _cut(text: str) -> str:
    # A lone surrogate, as undecodable file names have, cannot be stored as UTF-8.
    text = text.encode(errors="replace").decode()
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"
