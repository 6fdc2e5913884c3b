"""Between a webhook delivery and the public `WebhookDelivery` message, which is also what is stored; and its news."""

from __future__ import annotations

from shared.codec.fields import from_timestamp, to_timestamp
from shared.domain.identity import is_task_id
from shared.domain.task import EventType
from shared.domain.webhooks import DeliveryKey, DeliveryState, WebhookDelivery
from taskcast.v1 import admin_service_pb2, task_pb2


def delivery_to_proto(delivery: WebhookDelivery) -> admin_service_pb2.WebhookDelivery:
    """The public message of a delivery."""
    message = admin_service_pb2.WebhookDelivery(
        id=delivery.key.id,
        task_id=delivery.key.task_id,
        sequence=delivery.key.sequence,
        event_type=task_pb2.TaskEvent.Type.ValueType(delivery.event_type),
        url=delivery.url,
        state=admin_service_pb2.WebhookDeliveryState.ValueType(delivery.state),
        tries=delivery.tries,
        last_status_code=delivery.last_status,
        last_error=delivery.last_error,
        create_time=to_timestamp(delivery.create_time),
    )
    if delivery.last_try_time is not None:
        message.last_try_time.CopyFrom(to_timestamp(delivery.last_try_time))
    if delivery.next_try_time is not None:
        message.next_try_time.CopyFrom(to_timestamp(delivery.next_try_time))
    if delivery.end_time is not None:
        message.end_time.CopyFrom(to_timestamp(delivery.end_time))
    return message


def encode_delivery(delivery: WebhookDelivery) -> bytes:
    """A delivery as it is stored, under a name that says which it is: so without that."""
    message = delivery_to_proto(delivery)
    for field in ("id", "task_id", "sequence"):
        message.ClearField(field)
    return message.SerializeToString()


def decode_delivery(key: DeliveryKey, body: bytes) -> WebhookDelivery:
    """The delivery that `encode_delivery` was given."""
    message = admin_service_pb2.WebhookDelivery.FromString(body)
    return WebhookDelivery(
        key=key,
        url=message.url,
        event_type=EventType(message.event_type),
        create_time=from_timestamp(message.create_time),
        state=DeliveryState(message.state),
        tries=message.tries,
        last_status=message.last_status_code,
        last_error=message.last_error,
        last_try_time=from_timestamp(message.last_try_time) if message.HasField("last_try_time") else None,
        next_try_time=from_timestamp(message.next_try_time) if message.HasField("next_try_time") else None,
        end_time=from_timestamp(message.end_time) if message.HasField("end_time") else None,
    )


def encode_news(task_id: str, endpoints: tuple[str, ...]) -> bytes:
    """A message that only says which endpoints of a task there is something to send to."""
    return " ".join((task_id, *endpoints)).encode()


def decode_news(body: bytes) -> tuple[str, tuple[str, ...]]:
    """Task and endpoints out of a message of `encode_news`. Raises ValueError for what is none."""
    task_id, *endpoints = body.decode().split(" ")
    if not is_task_id(task_id):
        raise ValueError("a message with news of webhooks names no task")
    return task_id, tuple(endpoints)
