from __future__ import annotations

import json

import pytest

from shared.domain.commands import Abort, Fail, Retry, Succeed
from shared.domain.task import TaskProgress
from shared.json_values import encode_json
from worker_service.runners.command_output import LONGEST_QUOTE, BadOutputError, read_line

RESULT = encode_json({"pages": 1}, "result")


def read(line: str | bytes, *, after: Succeed | None = None) -> object:
    raw = line.encode() if isinstance(line, str) else line
    return read_line(raw + b"\n", 2, after=after, max_result_bytes=1_000)


def test_each_of_the_four_words_is_understood() -> None:
    assert read('{"progress": {"completed": 1, "total": 4, "message": "ä"}}') == TaskProgress(
        percent=25.0, message="ä", completed=1, total=4
    )
    assert read('{"result": {"pages": 1}}') == Succeed(attempt=2, result=RESULT)
    failed = read('{"failed": {"code": "EMPTY"}}')
    assert isinstance(failed, Fail)
    assert (failed.error.code, failed.error.message) == ("EMPTY", "")
    later = read('{"retry": {"after": 1.5, "message": "not yet"}}')
    assert isinstance(later, Retry)
    assert (later.error.code, later.error.message, later.after) == ("RETRY_LATER", "not yet", 1_500)
    policy = read('{"retry": {}}')
    assert isinstance(policy, Retry)
    assert policy.after is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hello", "'hello' is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("3", "is no object with one key"),
        ("{}", "is no object with one key"),
        ('{"result": 1, "progress": {}}', "is no object with one key"),
        ('{"results": 1}', "is no object with one key"),
        ('{"progress": 50}', "progress must be an object, is '50'"),
        ('{"progress": {"percent": 500}}', "percent must be between 0 and 100, is 500"),
        ('{"progress": {"percent": "50"}}', "percent must be a number, is '50'"),
        ('{"progress": {"detail": [1]}}', "detail must be a mapping"),
        ('{"progress": {"completed": 5, "total": 4}}', "more than the total"),
        ('{"progress": {"percents": 5}}', "progress has percents, there are completed, detail"),
        ('{"failed": {}}', "failed makes no sense: 'code'"),
        ('{"failed": "EMPTY"}', "failed must be an object"),
        ('{"retry": {"after": -1}}', "after must be between 0 seconds and ten years, is -1"),
        ('{"retry": {"after": "soon"}}', "retry makes no sense"),
    ],
)
def test_any_other_line_is_refused_with_the_reason(line: str | bytes, said: str) -> None:
    with pytest.raises(BadOutputError, match=said):
        read(line)


def test_a_result_that_cannot_be_kept_is_an_error_of_its_own() -> None:
    for value, code in (
        (float("nan"), "RESULT_NOT_JSON"),
        (2**60, "RESULT_NOT_JSON"),
        ("x" * 2_000, "RESULT_TOO_LARGE"),
    ):
        outcome = read(json.dumps({"result": value}))
        assert isinstance(outcome, Abort)
        assert outcome.error.code == code


def test_the_outcome_is_the_last_word() -> None:
    with pytest.raises(BadOutputError, match="comes after the outcome"):
        read('{"progress": {}}', after=Succeed(attempt=2, result=RESULT))


def test_a_long_line_is_quoted_in_part() -> None:
    with pytest.raises(BadOutputError) as refused:
        read("x" * 5_000)
    assert len(str(refused.value)) < LONGEST_QUOTE + 50
