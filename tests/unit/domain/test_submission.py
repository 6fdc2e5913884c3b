"""What may be submitted: each limit at, below and above it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.submission import LONGEST_DURATION, Limits, violations
from shared.domain.task import RetryPolicy, TaskSpec, TaskStatus, Webhook
from tests.unit.domain.lives import START

SPEC = TaskSpec(type="report.render")
LIMITS = Limits()


def wrong(**changes: Any) -> list[str]:
    return [violation.field for violation in violations(replace(SPEC, **changes), LIMITS, START)]


def policy(**changes: Any) -> list[str]:
    return wrong(retry_policy=RetryPolicy(**changes))


def hook(url: str = "https://example.org/hook", **changes: Any) -> list[str]:
    return wrong(webhooks=(Webhook(url=url, **changes),))


def test_a_plain_submission_is_fine() -> None:
    assert wrong() == []


def test_a_submission_that_uses_everything_up_to_its_limit_is_fine() -> None:
    spec = TaskSpec(
        type="a" * LIMITS.type_length,
        payload=b"p" * LIMITS.payload_bytes,
        labels={f"key-{i}": "v" * LIMITS.label_value_length for i in range(LIMITS.labels)},
        queue="q" * LIMITS.queue_length,
        schedule_time=START + LONGEST_DURATION,
        timeout=LONGEST_DURATION,
        attempt_timeout=LONGEST_DURATION,
        estimated_duration=LONGEST_DURATION,
        retry_policy=RetryPolicy(
            max_attempts=LIMITS.max_attempts,
            initial_backoff=LONGEST_DURATION,
            max_backoff=LONGEST_DURATION,
            backoff_multiplier=100.0,
            jitter=1.0,
        ),
        webhooks=(Webhook(url="http://h/", statuses=tuple(TaskStatus)),) * LIMITS.webhooks,
        retention=LONGEST_DURATION,
    )
    assert violations(spec, LIMITS, START) == []


def test_everything_wrong_is_told_at_once_in_the_order_of_the_fields() -> None:
    spec = TaskSpec(type="", queue="", timeout=-1, retention=-1, webhooks=(Webhook(url=""),))
    fields = [violation.field for violation in violations(spec, LIMITS, START)]
    assert fields == ["type", "queue", "timeout", "retention", "webhooks[0].url"]


@pytest.mark.parametrize("field", ["type", "queue"])
class TestNames:
    @pytest.mark.parametrize("name", ["a", "Z", "7", "image.thumbnail", "a:b_c-d.e", "a" * 64])
    def test_good_ones(self, field: str, name: str) -> None:
        assert wrong(**{field: name}) == []

    @pytest.mark.parametrize("name", ["", ".a", "-a", "_a", ":a", "a b", "a/b", "ä", "a\n", "a\0", "a*", "a#"])
    def test_bad_ones(self, field: str, name: str) -> None:
        assert wrong(**{field: name}) == [field]

    def test_their_length(self, field: str) -> None:
        longest = {"type": LIMITS.type_length, "queue": LIMITS.queue_length}[field]
        assert wrong(**{field: "a" * longest}) == []
        assert wrong(**{field: "a" * (longest + 1)}) == [field]
        described = violations(replace(SPEC, **{field: "a" * (longest + 1)}), LIMITS, START)[0].description  # type: ignore[arg-type]
        assert f"at most {longest} characters, has {longest + 1}" in described


@pytest.mark.parametrize(("size", "fields"), [(0, []), (1 << 20, []), ((1 << 20) + 1, ["payload"])])
def test_the_size_of_a_payload(size: int, fields: list[str]) -> None:
    assert wrong(payload=b"p" * size) == fields


def test_no_payload_is_fine() -> None:
    assert wrong(payload=None) == []


@pytest.mark.parametrize(("count", "fields"), [(0, []), (31, []), (32, []), (33, ["labels"])])
def test_the_number_of_labels(count: int, fields: list[str]) -> None:
    assert wrong(labels={f"key-{i}": "" for i in range(count)}) == fields


@pytest.mark.parametrize(
    ("key", "value", "fine"),
    [
        ("a", "", True),
        ("k" * 63, "v" * 255, True),
        ("env", "anything at all: ü \n", True),
        ("k" * 64, "", False),
        ("", "v", False),
        ("a b", "v", False),
        ("-a", "v", False),
        ("a", "v" * 256, False),
    ],
)
def test_the_shape_of_labels(key: str, value: str, fine: bool) -> None:
    assert wrong(labels={key: value}) == ([] if fine else [f"labels[{key!r}]"])


@pytest.mark.parametrize(
    ("time", "fields"),
    [
        (None, []),
        (0, []),
        (START - 1, []),
        (START + LONGEST_DURATION, []),
        (-1, ["schedule_time"]),
        (START + LONGEST_DURATION + 1, ["schedule_time"]),
    ],
)
def test_the_schedule_time(time: int | None, fields: list[str]) -> None:
    assert wrong(schedule_time=time) == fields


@pytest.mark.parametrize("field", ["timeout", "attempt_timeout", "estimated_duration", "retention"])
@pytest.mark.parametrize(
    ("duration", "fine"), [(0, True), (1, True), (LONGEST_DURATION, True), (-1, False), (LONGEST_DURATION + 1, False)]
)
def test_durations(field: str, duration: int, fine: bool) -> None:
    assert wrong(**{field: duration}) == ([] if fine else [field])


@pytest.mark.parametrize(
    ("field", "value", "fine"),
    [
        ("initial_backoff", 0, True),
        ("initial_backoff", LONGEST_DURATION, True),
        ("initial_backoff", -1, False),
        ("initial_backoff", LONGEST_DURATION + 1, False),
        ("max_backoff", 0, True),
        ("max_backoff", -1, False),
        ("max_attempts", 1, True),
        ("max_attempts", 100, True),
        ("max_attempts", 0, False),
        ("max_attempts", -3, False),
        ("max_attempts", 101, False),
        ("backoff_multiplier", 1.0, True),
        ("backoff_multiplier", 100.0, True),
        ("backoff_multiplier", 0.99, False),
        ("backoff_multiplier", 100.01, False),
        ("backoff_multiplier", -2.0, False),
        ("backoff_multiplier", float("nan"), False),
        ("backoff_multiplier", float("inf"), False),
        ("jitter", 0.0, True),
        ("jitter", 1.0, True),
        ("jitter", -0.01, False),
        ("jitter", 1.01, False),
        ("jitter", float("nan"), False),
    ],
)
def test_the_retry_policy(field: str, value: float, fine: bool) -> None:
    assert policy(**{field: value}) == ([] if fine else [f"retry_policy.{field}"])


@pytest.mark.parametrize(("count", "fields"), [(7, []), (8, []), (9, ["webhooks"])])
def test_the_number_of_webhooks(count: int, fields: list[str]) -> None:
    assert wrong(webhooks=(Webhook(url="http://example.org"),) * count) == fields


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "https://example.org:8443/a/b?c=d#e",
        "http://93.184.215.14/",
        "http://[2606:4700::1111]:80/",
        "https://bücher.example/",
        "HTTPS://EXAMPLE.ORG/",
        "http://h/" + "a" * (2_048 - len("http://h/")),
    ],
)
def test_good_webhook_addresses(url: str) -> None:
    assert hook(url) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/hook",
        "/hook",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://user@example.org/",
        "http://user:secret@example.org/",
        "http://:secret@example.org/",
        "http://example.org:99999/",
        "http://example.org:port/",
        "http://[::1/",
        "http://example.org/a b",
        "http://example.org\\@10.0.0.1/",
        "http://a..b/",
        "http://1.2.3.4.5/",
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://example.org/\r\nX: y",
        "http://h/" + "a" * (2_049 - len("http://h/")),
    ],
)
def test_bad_webhook_addresses(url: str) -> None:
    assert hook(url) == ["webhooks[0].url"]


def test_the_second_webhook_is_named_by_its_index() -> None:
    assert wrong(webhooks=(Webhook(url="http://a"), Webhook(url="b"))) == ["webhooks[1].url"]


@pytest.mark.parametrize(("count", "fields"), [(16, []), (17, ["webhooks[0].headers"])])
def test_the_number_of_webhook_headers(count: int, fields: list[str]) -> None:
    assert hook(headers={f"x-{i}": "v" for i in range(count)}) == fields


@pytest.mark.parametrize(("size", "fields"), [(4_095, []), (4_096, []), (4_097, ["webhooks[0].headers"])])
def test_the_size_of_webhook_headers(size: int, fields: list[str]) -> None:
    assert hook(headers={"x-one": "v" * (size - 5)}) == fields


@pytest.mark.parametrize(
    ("name", "value", "fine"),
    [
        ("X-Api-Key", "secret", True),
        ("!#$%&'*+.^_`|~-", "with spaces", True),
        ("X Api Key", "secret", False),
        ("X-Api-Key:", "secret", False),
        ("", "secret", False),
        ("X-Api-Key", "secret\r\nX-Other: x", False),
        ("X-Api-Key", "secret\0", False),
        ("X-Api-Key", "geheimnisträger", False),
        ("Webhook-Id", "forged", False),
        ("transfer-encoding", "chunked", False),
    ],
)
def test_the_shape_of_webhook_headers(name: str, value: str, fine: bool) -> None:
    assert hook(headers={name: value}) == ([] if fine else [f"webhooks[0].headers[{name!r}]"])


def test_the_limits_can_be_changed() -> None:
    small = Limits(payload_bytes=3, labels=1)
    spec = replace(SPEC, payload=b"1234", labels={"a": "", "b": ""})
    assert [violation.field for violation in violations(spec, small, START)] == ["payload", "labels"]
