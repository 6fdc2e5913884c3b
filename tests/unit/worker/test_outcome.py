from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.domain.commands import Abort, Fail, Retry, Succeed
from shared.domain.task import TaskError
from shared.json_values import encode_json
from worker_service.outcome import (
    LONGEST_MESSAGE,
    RetryLater,
    TaskFailed,
    of_exception,
    of_result,
    unknown_type,
)

MIB = 1 << 20


@pytest.mark.parametrize("result", [None, True, 0, 1.5, "text", [1, [2]], {"a": {"b": None}}])
def test_what_a_handler_returns_is_its_success(result: Any) -> None:
    assert of_result(2, result, max_bytes=MIB) == Succeed(attempt=2, result=encode_json(result, "result"))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({1, 2}, "The handler's result is a set, which JSON cannot hold."),
        ({"pages": [object()]}, "The handler's result.pages[0] is a object, which JSON cannot hold."),
        (float("nan"), "The handler's result is nan, which JSON cannot hold."),
        ({"\ud800": 1}, "The handler's result has the key '\\ud800', which UTF-8 cannot hold."),
        ("\ud800", "The handler's result is text that UTF-8 cannot hold."),
    ],
)
def test_a_result_that_json_cannot_hold_is_an_error_that_no_repetition_mends(result: Any, said: str) -> None:
    assert of_result(2, result, max_bytes=MIB) == Abort(
        attempt=2, error=TaskError(code="RESULT_NOT_JSON", message=said)
    )


def test_a_result_may_be_as_large_as_the_limit_and_no_larger() -> None:
    size = len(encode_json("x" * 100, "result"))
    assert isinstance(of_result(1, "x" * 100, max_bytes=size), Succeed)
    refused = of_result(1, "x" * 100, max_bytes=size - 1)
    assert isinstance(refused, Abort)
    assert refused.error.code == "RESULT_TOO_LARGE"
    assert f"{size} bytes encoded, the limit is {size - 1}" in refused.error.message


def test_a_handler_s_own_failure_keeps_its_words() -> None:
    assert of_exception(3, TaskFailed("EMPTY", "nothing to render")) == Fail(
        attempt=3, error=TaskError(code="EMPTY", message="nothing to render")
    )
    assert of_exception(3, TaskFailed("EMPTY")) == Fail(attempt=3, error=TaskError(code="EMPTY", message=""))


def test_a_failure_may_be_said_with_a_number_and_an_exception() -> None:
    failed = TaskFailed(404, KeyError("name"))  # type: ignore[arg-type]
    assert of_exception(1, failed) == Fail(attempt=1, error=TaskError(code="404", message="'name'"))
    later = RetryLater(message=OSError("disk full"))  # type: ignore[arg-type]
    assert of_exception(1, later) == Retry(attempt=1, error=TaskError(code="RETRY_LATER", message="disk full"))


@pytest.mark.parametrize(("after", "millis"), [(None, None), (0, 0), (1.5, 1_500), (0.0004, 0), (86_400, 86_400_000)])
def test_a_handler_may_ask_for_another_try(after: float | None, millis: int | None) -> None:
    asked = of_exception(1, RetryLater(after=after, message="busy"))
    assert asked == Retry(attempt=1, error=TaskError(code="RETRY_LATER", message="busy"), after=millis)


@pytest.mark.parametrize("after", [-1, -0.001, 315_360_001, float("inf"), float("nan")])
def test_another_try_at_an_impossible_time_cannot_be_asked_for(after: float) -> None:
    with pytest.raises(ValueError, match="between 0 seconds and ten years"):
        RetryLater(after=after)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (KeyError("name"), "KeyError: 'name'"),
        (RuntimeError(), "RuntimeError"),
        (SystemExit(3), "SystemExit: 3"),
        (asyncio.CancelledError(), "CancelledError"),
        (OSError(2, "No such file", "caf\udce9.txt"), "FileNotFoundError: [Errno 2] No such file: 'caf\\udce9.txt'"),
        (ValueError("caf\udce9"), "ValueError: caf?"),
    ],
)
def test_any_other_exception_is_retried_and_named(raised: BaseException, said: str) -> None:
    assert of_exception(1, raised) == Retry(attempt=1, error=TaskError(code="UNHANDLED_EXCEPTION", message=said))


@pytest.mark.parametrize("length", [LONGEST_MESSAGE, LONGEST_MESSAGE + 1, 1_000_000])
def test_a_long_message_is_cut_and_shows_it(length: int) -> None:
    outcome = of_exception(1, TaskFailed("LONG", "x" * length))
    assert isinstance(outcome, Fail)
    assert len(outcome.error.message) == LONGEST_MESSAGE
    assert outcome.error.message.endswith("…") == (length > LONGEST_MESSAGE)


def test_a_type_that_nobody_serves_is_an_error_that_names_it() -> None:
    outcome = unknown_type(1, "report.rendr")
    assert isinstance(outcome, Abort)
    assert outcome.error.code == "UNKNOWN_TASK_TYPE"
    assert "'report.rendr'" in outcome.error.message
