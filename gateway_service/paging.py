"""Pages of long answers: how many entries one has, and the token that leads to the next."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import uuid
from typing import TYPE_CHECKING

from gateway_service.faults import InvalidRequestError
from shared.domain.submission import Violation
from shared.ports import Place

if TYPE_CHECKING:
    from shared.domain.task import Millis

DEFAULT_PAGE_SIZE = 50
LARGEST_PAGE_SIZE = 1_000

_DIGEST_BYTES = 8
_VERSION = 1
_PLACE = struct.Struct(">Bq16s")
"""What a token says: the version of its form, and a place. With the digest that needs no padding in base64."""

_FOREIGN = "was not given by this server for a request like this one: begin again without it"


def page_size(asked: int) -> int:
    """How many entries a page may have. Raises InvalidRequestError if `asked` is negative."""
    if asked < 0:
        raise InvalidRequestError([Violation("page_size", f"must not be negative, is {asked}")])
    return min(asked or DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE)


def page_token(place: Place | None, listing: bytes) -> str:
    """The token that leads to the tasks behind `place`; see `mark_token`."""
    mark = None if place is None else _PLACE.pack(_VERSION, place.create_time, uuid.UUID(place.task_id).bytes)
    return mark_token(mark, listing)


def read_page_token(token: str, listing: bytes) -> Place | None:
    """The place that `page_token` was given for the same `listing`; see `read_mark_token`."""
    mark = read_mark_token(token, listing)
    if mark is None:
        return None
    if len(mark) != _PLACE.size or mark[0] != _VERSION:
        raise InvalidRequestError([Violation("page_token", _FOREIGN)])
    create_time: Millis
    _, create_time, task_id = _PLACE.unpack(mark)
    return Place(create_time, str(uuid.UUID(bytes=task_id)))


def mark_token(mark: bytes | None, listing: bytes) -> str:
    """The token that leads to what lies behind `mark`, or the empty string where nothing does.

    `listing` says what is listed: a token is good for that only. It holds no secret, since whoever forged one
    would see what is theirs anyway, and any gateway reads what another has given.
    """
    return "" if mark is None else base64.urlsafe_b64encode(mark + _digest(mark, listing)).decode()


def read_mark_token(token: str, listing: bytes) -> bytes | None:
    """The mark that `mark_token` was given for the same `listing`; None for the empty token.

    Raises InvalidRequestError for any other string.
    """
    if not token:
        return None
    try:
        content = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        content = b""
    mark, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if not mark or digest != _digest(mark, listing):
        raise InvalidRequestError([Violation("page_token", _FOREIGN)])
    return mark


def _digest(packed: bytes, listing: bytes) -> bytes:
    return hashlib.blake2b(packed + listing, digest_size=_DIGEST_BYTES).digest()
