"""Task ids and the partitions they fall into."""

from __future__ import annotations

import re
import uuid

PARTITIONS = 256
"""How many fixed shards all tasks fall into. It is part of the stored layout and never changes."""

PARTITION_NAMES = tuple(f"{number:02x}" for number in range(PARTITIONS))

_TASK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NAMESPACE = uuid.UUID("6f3a1f6e-0c9d-5f0e-9b57-7a5c4b1d2e80")


def is_task_id(text: str) -> bool:
    """Whether `text` is a task id: a UUID in lower case with its four hyphens."""
    return _TASK_ID.fullmatch(text) is not None


def derived_task_id(tenant: str, request_id: str) -> str:
    """The id of the task that `tenant` submits with `request_id`: the same pair always gives the same id."""
    return str(uuid.uuid5(_NAMESPACE, f"{tenant}\0{request_id}"))


def partition_of(task_id: str) -> str:
    """The partition of a task: the last two hex digits of its id, "00" to "ff"."""
    return task_id[-2:]
