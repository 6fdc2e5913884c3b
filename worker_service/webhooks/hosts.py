"""How many webhooks go to one host at once, and how long the others wait in line for it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LINE_PER_SLOT = 16
"""So many wait in this process for each slot of a host. More go back to the record for a while."""

SHORTEST_WAIT = 0.25


class HostBusyError(Exception):
    """Too many stand in line for the host, or the line did not move: come back in `wait` seconds."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        super().__init__(f"the host is busy for another {wait:g} s")


@dataclass(slots=True)
class _Host:
    slots: asyncio.Semaphore
    waiting: int = 0
    under_way: dict[object, float] = field(default_factory=dict)


class Hosts:
    """A slow host holds up its own line and nobody else's."""

    def __init__(self, *, slots: int, patience: float) -> None:
        """`slots`: webhooks to one host at once; `patience`: seconds that one stands in line at most."""
        self._slots = slots
        self._patience = patience
        self._hosts: defaultdict[str, _Host] = defaultdict(lambda: _Host(asyncio.Semaphore(slots)))

    @asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[None]:
        """Hold a slot of `host`, standing in line for it if need be. Raises HostBusyError."""
        entry = self._hosts[host]
        await self._stand_in_line(entry)
        token = object()
        entry.under_way[token] = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            del entry.under_way[token]
            entry.slots.release()
            if not entry.under_way and not entry.waiting:
                self._hosts.pop(host, None)

    async def _stand_in_line(self, entry: _Host) -> None:
        if entry.waiting >= LINE_PER_SLOT * self._slots:
            raise HostBusyError(_wait(entry))
        entry.waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await entry.slots.acquire()
        except TimeoutError:
            raise HostBusyError(_wait(entry)) from None
        finally:
            entry.waiting -= 1


def _wait(entry: _Host) -> float:
    """As long as the host has kept us waiting already: a quick one is asked again soon, a hanging one ever later."""
    now = asyncio.get_running_loop().time()
    return max(SHORTEST_WAIT, *(now - began for began in entry.under_way.values()), 0.0)
