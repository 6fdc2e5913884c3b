"""What may be submitted: the limits, and a sentence for each one that a submission breaks."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.domain.addresses import Reach

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.domain.task import Millis, RetryPolicy, TaskSpec, Webhook

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f\\<>\"{}|^`]")

OWN_HEADERS = frozenset(
    {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "user-agent",
        "host",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "expect",
        "te",
        "trailer",
        "upgrade",
    }
)
"""Headers of a webhook that Taskcast sets itself, or that would change how the request is read."""

_PUBLIC = Reach()

LONGEST_DURATION: Millis = 10 * 365 * 86_400_000
"""Ten years: anything longer is a mistake of units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what one task may hold. Sizes are bytes of the encoded value."""

    payload_bytes: int = 1 << 20
    result_bytes: int = 1 << 20
    progress_detail_bytes: int = 16 << 10
    type_length: int = 128
    queue_length: int = 64
    labels: int = 32
    label_key_length: int = 63
    label_value_length: int = 255
    webhooks: int = 8
    webhook_url_length: int = 2_048
    webhook_headers: int = 16
    webhook_header_bytes: int = 4_096
    request_id_length: int = 128
    cancel_reason_length: int = 1_024
    max_attempts: int = 100
    batch_items: int = 1_000
    batch_bytes: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a request: the field's path, and what to do about it."""

    field: str
    description: str


def violations(spec: TaskSpec, limits: Limits, now: Millis, reach: Reach = _PUBLIC) -> list[Violation]:
    """Everything that is wrong with `spec` at `now`, in the order of its fields; empty if it may be submitted.

    `reach` says where its webhooks may go.
    """
    return [
        *name_violations("type", spec.type, limits.type_length),
        *_payload(spec.payload, limits),
        *label_violations(spec.labels, limits),
        *name_violations("queue", spec.queue, limits.queue_length),
        *_schedule_time(spec.schedule_time, now),
        *_durations(spec),
        *_retry_policy(spec.retry_policy, limits),
        *_webhooks(spec.webhooks, limits, reach),
    ]


def name_violations(field: str, value: str, longest: int) -> Iterator[Violation]:
    """What is wrong with the name of a type or a queue."""
    if not value:
        yield Violation(field, "must not be empty")
    elif len(value) > longest:
        yield Violation(field, f"must have at most {longest} characters, has {len(value)}")
    elif not NAME.fullmatch(value):
        yield Violation(field, "must start with a letter or digit and hold only letters, digits, '.', '_', ':' and '-'")


def _payload(payload: bytes | None, limits: Limits) -> Iterator[Violation]:
    if payload is not None and len(payload) > limits.payload_bytes:
        yield Violation(
            "payload",
            f"must be at most {limits.payload_bytes} bytes encoded, is {len(payload)};"
            " store it elsewhere and pass a link",
        )


def label_violations(labels: Mapping[str, str], limits: Limits, path: str = "labels") -> Iterator[Violation]:
    """What is wrong with labels, in the field that `path` leads to."""
    if len(labels) > limits.labels:
        yield Violation(path, f"must have at most {limits.labels} entries, has {len(labels)}")
        return
    for key, value in labels.items():
        field = f"{path}[{key[:80]!r}]"
        if not key or len(key) > limits.label_key_length or not NAME.fullmatch(key):
            yield Violation(
                field,
                f"a key has 1 to {limits.label_key_length} characters, starts with a letter or digit"
                " and holds only letters, digits, '.', '_', ':' and '-'",
            )
        if len(value) > limits.label_value_length:
            yield Violation(field, f"a value has at most {limits.label_value_length} characters, this has {len(value)}")


def _schedule_time(time: Millis | None, now: Millis) -> Iterator[Violation]:
    if time is not None and not 0 <= time <= now + LONGEST_DURATION:
        yield Violation("schedule_time", "must be after 1970 and within the next 10 years")


def _durations(spec: TaskSpec) -> Iterator[Violation]:
    durations = {
        "timeout": spec.timeout,
        "attempt_timeout": spec.attempt_timeout,
        "estimated_duration": spec.estimated_duration,
        "retry_policy.initial_backoff": spec.retry_policy.initial_backoff,
        "retry_policy.max_backoff": spec.retry_policy.max_backoff,
        "retention": spec.retention,
    }
    for field, duration in durations.items():
        if duration is not None and not 0 <= duration <= LONGEST_DURATION:
            yield Violation(field, "must be between 0 and 10 years")


def _retry_policy(policy: RetryPolicy, limits: Limits) -> Iterator[Violation]:
    if policy.max_attempts is not None and not 1 <= policy.max_attempts <= limits.max_attempts:
        yield Violation("retry_policy.max_attempts", f"must be between 1 and {limits.max_attempts}")
    multiplier = policy.backoff_multiplier
    if multiplier is not None and not (math.isfinite(multiplier) and 1 <= multiplier <= 100):
        yield Violation("retry_policy.backoff_multiplier", "must be between 1 and 100")
    if policy.jitter is not None and not 0 <= policy.jitter <= 1:
        yield Violation("retry_policy.jitter", "must be between 0 and 1")


def _webhooks(webhooks: tuple[Webhook, ...], limits: Limits, reach: Reach) -> Iterator[Violation]:
    if len(webhooks) > limits.webhooks:
        yield Violation("webhooks", f"must have at most {limits.webhooks} entries, has {len(webhooks)}")
        return
    for index, webhook in enumerate(webhooks):
        yield from webhook_violations(f"webhooks[{index}]", webhook, limits, reach)


def webhook_violations(field: str, webhook: Webhook, limits: Limits, reach: Reach) -> Iterator[Violation]:
    """What is wrong with one webhook, which stands in `field`."""
    if not _is_web_address(webhook.url, limits.webhook_url_length):
        yield Violation(
            f"{field}.url",
            f"must be an http or https URL with a host, without user or password, of at most"
            f" {limits.webhook_url_length} characters",
        )
    elif objection := reach.objection(webhook.url):
        yield Violation(f"{field}.url", objection)
    if len(webhook.headers) > limits.webhook_headers:
        yield Violation(f"{field}.headers", f"must have at most {limits.webhook_headers} entries")
    elif sum(len(k.encode()) + len(v.encode()) for k, v in webhook.headers.items()) > limits.webhook_header_bytes:
        yield Violation(f"{field}.headers", f"must have at most {limits.webhook_header_bytes} bytes together")
    for name, value in webhook.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            yield Violation(f"{field}.headers[{name[:80]!r}]", "is not a header name and value that HTTP allows")
        elif name.lower() in OWN_HEADERS:
            yield Violation(f"{field}.headers[{name[:80]!r}]", "is a header that the server sets itself")


def _is_web_address(url: str, longest: int) -> bool:
    if not url or len(url) > longest or _NOT_IN_URLS.search(url):
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None
