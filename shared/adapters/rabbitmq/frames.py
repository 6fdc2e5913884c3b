"""The frames of a publish, written by hand.

The library spends some 60 µs on them, most of it on values that are the same each time, and as much again on
locks and timers that a channel with one owner does not need.
Layout: AMQP 0-9-1 specification, section 4.2; Basic.Publish is method 60.40; properties, section 4.2.6.1.
"""

from __future__ import annotations

import struct

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_BASIC, _PUBLISH = 60, 40
_FRAME = struct.Struct(">BHI")
_PUBLISH_START = struct.pack(">HHH", _BASIC, _PUBLISH, 0)
_CONTENT = struct.Struct(">HHQ")
_CONTENT_TYPE = b"\x16application/x-protobuf"
# Flags of the properties that follow: content-type (bit 15), delivery-mode (12), expiration (8), message-id (7).
_EVENT_PROPERTIES = struct.pack(">H", 0x9000) + _CONTENT_TYPE + b"\x01"
_TASK_PROPERTIES = struct.pack(">H", 0x9080) + _CONTENT_TYPE + b"\x02"
_NEWS_PROPERTIES = struct.pack(">H", 0x9100) + _CONTENT_TYPE + b"\x01"


def event_frames(channel: int, exchange: str, routing_key: str, body: bytes, *, max_content: int) -> bytes:
    """A transient, not mandatory publish on AMQP channel number `channel`.

    `max_content` is how many bytes of the body one frame may hold. Raises ValueError for a name beyond 255 bytes.
    """
    return _publish(
        channel, exchange, routing_key, b"\x00", properties=_EVENT_PROPERTIES, body=body, max_content=max_content
    )


def task_frames(channel: int, queue: str, message_id: str, body: bytes, *, max_content: int) -> bytes:
    """A persistent, mandatory publish to `queue`; see `event_frames`."""
    properties = _TASK_PROPERTIES + _short(message_id)
    return _publish(channel, "", queue, b"\x01", properties=properties, body=body, max_content=max_content)


def news_frames(channel: int, queue: str, ttl: int, body: bytes, *, max_content: int) -> bytes:
    """A not mandatory publish to `queue`, of no worth any more after `ttl` milliseconds; see `event_frames`."""
    properties = _NEWS_PROPERTIES + _short(str(ttl))
    return _publish(channel, "", queue, b"\x00", properties=properties, body=body, max_content=max_content)


def _publish(
    channel: int, exchange: str, key: str, flags: bytes, *, properties: bytes, body: bytes, max_content: int
) -> bytes:
    method = _PUBLISH_START + _short(exchange) + _short(key) + flags
    header = _CONTENT.pack(_BASIC, 0, len(body)) + properties
    parts = [_FRAME.pack(_METHOD, channel, len(method)), method, _END]
    parts += [_FRAME.pack(_HEADER, channel, len(header)), header, _END]
    for start in range(0, len(body), max_content):
        piece = body[start : start + max_content]
        parts += [_FRAME.pack(_BODY, channel, len(piece)), piece, _END]
    return b"".join(parts)


def _short(text: str) -> bytes:
    """A short string: its length in one byte, then UTF-8."""
    encoded = text.encode()
    if len(encoded) > 255:
        raise ValueError(f"an AMQP name has at most 255 bytes: {text}")
    return bytes((len(encoded),)) + encoded
