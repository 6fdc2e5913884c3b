"""List tasks, page by page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_service.paging import page_size, page_token, read_page_token

if TYPE_CHECKING:
    from shared.domain.filters import TaskFilter
    from shared.domain.task import Task
    from shared.ports import Catalogue


@dataclass(frozen=True, slots=True)
class Listing:
    """One page. `next_token` asks for the one behind it; empty: this was the last."""

    tasks: tuple[Task, ...]
    next_token: str


class ListTasks:
    """The tasks that match a filter, newest first, without payloads and results."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def __call__(self, tenant: str, wanted: TaskFilter, *, size: int, token: str) -> Listing:
        """One page of up to `size` tasks (0: the default), the first without a `token`.

        Raises InvalidRequestError for a negative size and for a token that is not of this listing, and
        StoreUnavailableError.
        """
        limit = page_size(size)
        listing = _named(tenant, wanted)
        before = read_page_token(token, listing)
        page = await self._catalogue.newest(tenant, wanted, before=before, limit=limit)
        return Listing(page.tasks, page_token(page.next, listing))


def _named(tenant: str, wanted: TaskFilter) -> bytes:
    """What is listed, the same for every way to write the same filter."""
    parts = [
        tenant,
        sorted(wanted.statuses),
        wanted.type,
        wanted.queue,
        sorted(wanted.labels.items()),
        wanted.created_after,
        wanted.created_before,
    ]
    return json.dumps(["tasks", *parts]).encode()
