"""Between the rules' values and the public protobuf messages, which are also what is stored."""

from shared.codec.deliveries import (
    decode_delivery,
    decode_news,
    delivery_to_proto,
    encode_delivery,
    encode_news,
)
from shared.codec.events import (
    BROADCAST_RESULT_BYTES,
    decode_event,
    decode_log_event,
    encode_broadcast,
    encode_log_event,
    event_from_proto,
    event_to_proto,
)
from shared.codec.fields import from_duration, from_timestamp, to_duration, to_timestamp
from shared.codec.pieces import (
    DISPATCH_PAYLOAD_BYTES,
    decode_dispatch,
    decode_payload,
    decode_task,
    encode_asked,
    encode_dispatch,
    encode_life,
    encode_payload,
    encode_result,
)
from shared.codec.reports import decode_report, encode_report, report_to_proto
from shared.codec.tasks import retry_policy_from_proto, task_from_proto, task_to_proto

__all__ = [
    "BROADCAST_RESULT_BYTES",
    "DISPATCH_PAYLOAD_BYTES",
    "decode_delivery",
    "decode_dispatch",
    "decode_event",
    "decode_log_event",
    "decode_news",
    "decode_payload",
    "decode_report",
    "decode_task",
    "delivery_to_proto",
    "encode_asked",
    "encode_broadcast",
    "encode_delivery",
    "encode_dispatch",
    "encode_life",
    "encode_log_event",
    "encode_news",
    "encode_payload",
    "encode_report",
    "encode_result",
    "event_from_proto",
    "event_to_proto",
    "from_duration",
    "from_timestamp",
    "report_to_proto",
    "retry_policy_from_proto",
    "task_from_proto",
    "task_to_proto",
    "to_duration",
    "to_timestamp",
]
