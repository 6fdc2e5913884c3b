"""Waiting until RabbitMQ could be killed without forgetting half of a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from tests.servers import PrivateRabbitMQ
    from tests.stack import Stack


async def until_kept(rabbit: PrivateRabbitMQ, stack: Stack) -> None:
    """Return once the stack's queues are in the file that RabbitMQ finds quorum queues by.

    It writes that file some seconds after a queue was declared. Killed before, a single node comes back with a
    queue that has no leader and never will: a fault of its own, which no client can mend.
    """
    names = [f"{stack.namespace}.{name}".encode() for name in _NAMES]

    async def look() -> bool:
        # While the file is written it may be replaced.
        held = b"".join(file.read_bytes() for file in rabbit.folder.glob("data/*/quorum/*/names.dets"))
        return all(name in held for name in names)

    await eventually_async(look, within=30, what="RabbitMQ to have the queues on its disk")


_NAMES = ("tasks.default.high", "tasks.default.normal", "tasks.default.low", "marker")
