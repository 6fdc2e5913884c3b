"""A scripted gateway on a thread of its own, for code that runs its own event loop, as the command line does."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.unit.scripted_gateway import ScriptedGateway

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def gateway_on_a_thread() -> Iterator[ScriptedGateway]:
    """A gateway that listens, and is gone afterwards. Give it its script before it is called."""
    gateway = ScriptedGateway()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted gateway")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(gateway.start(), loop).result(10)
        yield gateway
        asyncio.run_coroutine_threadsafe(gateway.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
