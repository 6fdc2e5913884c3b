"""Waiting for a condition, with a deadline: what tests do instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.02

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], *, within: float, what: str) -> Found:
    """The first truthy answer of `look()`.

    Raises:
        AssertionError: there was none within `within` seconds; `what` says what was waited for.
    """
    deadline = time.monotonic() + within
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within:g} s in vain for {what}; last seen: {found!r}")
        time.sleep(POLL_SECONDS)
    return found


async def eventually_async(look: Callable[[], Awaitable[Found]], *, within: float, what: str) -> Found:
    """The first truthy answer of `await look()`, while the event loop goes on.

    Raises:
        AssertionError: there was none within `within` seconds; `what` says what was waited for.
    """
    deadline = time.monotonic() + within
    while not (found := await look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within:g} s in vain for {what}; last seen: {found!r}")
        await asyncio.sleep(POLL_SECONDS)
    return found
