"""What a request may hold, in the words of JSON Schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.domain.submission import NAME

if TYPE_CHECKING:
    from shared.domain.submission import Limits

_NAME = f"^{NAME.pattern}$"


def request_limits(limits: Limits) -> dict[str, dict[str, Any]]:
    """Keywords for the fields of requests, by their full names."""
    name = {"pattern": _NAME, "maxLength": limits.type_length}
    label = {"type": "string", "maxLength": limits.label_value_length}
    named: dict[str, dict[str, Any]] = {
        "SubmitTaskRequest.type": {**name, "minLength": 1},
        "SubmitTaskRequest.queue": {"anyOf": [{"const": ""}, {**name, "maxLength": limits.queue_length}]},
        "SubmitTaskRequest.labels": {
            "maxProperties": limits.labels,
            "propertyNames": {"pattern": _NAME, "maxLength": limits.label_key_length},
            "additionalProperties": label,
        },
        "SubmitTaskRequest.webhooks": {"maxItems": limits.webhooks},
        "SubmitTaskRequest.request_id": {"maxLength": limits.request_id_length},
        "CancelTaskRequest.reason": {"maxLength": limits.cancel_reason_length},
        "BatchCancelTasksRequest.reason": {"maxLength": limits.cancel_reason_length},
        "WatchTaskRequest.after_sequence": {"pattern": "^[0-9]{1,18}$"},
        "RetryPolicy.max_attempts": {"minimum": 0, "maximum": limits.max_attempts},
        "RetryPolicy.backoff_multiplier": {"minimum": 0, "maximum": 100},
        "Webhook.url": {"maxLength": limits.webhook_url_length, "format": "uri"},
        "Webhook.headers": {"maxProperties": limits.webhook_headers},
    }
    return {f"taskcast.v1.{field}": keywords for field, keywords in named.items()}
