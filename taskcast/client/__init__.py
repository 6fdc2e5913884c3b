"""The Python client: submit tasks, look at them, cancel them, and follow them live.

    async with Client("127.0.0.1:50051") as client:
        task = await client.submit("image.thumbnail", {"source": "in.png", "target": "out.png"})
        async for update in client.watch(task.id):
            print(update)

It gives and takes the messages of `taskcast.v1`; whatever goes wrong is a TaskcastError.
"""

from __future__ import annotations

from taskcast.client.client import DEFAULT_ADDRESS, TERMINAL_STATUSES, Client
from taskcast.client.errors import FieldViolation, TaskcastError
from taskcast.client.fields import Json, Seconds

__all__ = [
    "DEFAULT_ADDRESS",
    "TERMINAL_STATUSES",
    "Client",
    "FieldViolation",
    "Json",
    "Seconds",
    "TaskcastError",
]
