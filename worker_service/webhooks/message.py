"""What a webhook says, and how it is signed: Standard Webhooks 1.0."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from google.protobuf import json_format
from standardwebhooks import Webhook as Signature

from shared.codec import event_to_proto

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.task import Millis, TaskEvent, Webhook
    from shared.webhook_secrets import Secret

MOST_RESULT_BYTES = 20_000
"""A larger result, encoded, is left out: receivers are asked to expect small bodies."""

USER_AGENT = "Taskcast"


@dataclass(frozen=True, slots=True)
class Message:
    """One try: where it goes, and all that is sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes


def body_of(event: TaskEvent) -> bytes:
    """The JSON of an event, in the envelope that Standard Webhooks proposes: `type`, `timestamp`, `data`.

    `type` is `task.` and the status in lower case; `data` is the TaskEvent. If the result is left out, `note` says
    so, and where to fetch it.
    """
    message = event_to_proto(event)
    note = {}
    if event.result is not None and len(event.result) > MOST_RESULT_BYTES:
        message.ClearField("result")
        note = {"note": f"The result has {len(event.result)} bytes and is left out: fetch it with GetTask."}
    data = json_format.MessageToDict(message)
    envelope = {"type": f"task.{event.status.name.lower()}", "timestamp": data["time"], "data": data, **note}
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def signed(hook: Webhook, delivery_id: str, body: bytes, secrets: tuple[Secret, ...], now: Millis) -> Message:
    """The message of one try at `now`. Each secret signs, so that either is enough during a rotation."""
    time = datetime.fromtimestamp(now // 1_000, tz=UTC)
    text = body.decode()
    return Message(
        hook.url,
        {
            **hook.headers,
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": delivery_id,
            "webhook-timestamp": str(now // 1_000),
            "webhook-signature": " ".join(Signature(secret).sign(delivery_id, time, text) for secret in secrets),
        },
        body,
    )
