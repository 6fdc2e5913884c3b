"""The Python client: submit tasks, look at them, list them, cancel them, and follow them live.

    async with Client("127.0.0.1:50051") as client:
        task = await client.submit("image.thumbnail", {"source": "in.png", "target": "out.png"})
        async for update in client.watch(task.id):
            print(update)

`SyncClient` is the same for code without an event loop. Both give and take the messages of `taskcast.v1`;
whatever goes wrong is a TaskcastError.
"""

from __future__ import annotations

from taskcast.client.batches import Outcome
from taskcast.client.client import DEFAULT_ADDRESS, Client
from taskcast.client.errors import FieldViolation, TaskcastError
from taskcast.client.fields import Json, Seconds
from taskcast.client.streams import TERMINAL_STATUSES
from taskcast.client.submission import SubmitOptions, submission
from taskcast.client.sync import SyncClient

__all__ = [
    "DEFAULT_ADDRESS",
    "TERMINAL_STATUSES",
    "Client",
    "FieldViolation",
    "Json",
    "Outcome",
    "Seconds",
    "SubmitOptions",
    "SyncClient",
    "TaskcastError",
    "submission",
]
