"""Work on large JSON, done where it makes nobody wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")

LARGE = 64 << 10
"""Bytes. A megabyte of small numbers takes a second or more, for which the whole process would stand still."""


async def beside_the_loop(size: int, work: Callable[[], Made]) -> Made:
    """What `work` gives: called here if what it works on is small, else in a thread, while the event loop goes on."""
    return await asyncio.to_thread(work) if size > LARGE else work()
