"""List tasks, page by page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_service.paging import page_size, page_token, read_page_token
from shared.ports import Page, Place

if TYPE_CHECKING:
    from shared.domain.filters import TaskFilter
    from shared.domain.task import Task
    from shared.ports import Catalogue


LOOKS = 10
"""Labels are in no index. So many times a page looks on where it found none that match; then it is left empty."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page. `next` is the place where the one behind it begins, None if this was the last."""

    tasks: tuple[Task, ...]
    next: Place | None
    name: bytes
    """What is listed, the same for every way to write the same filter."""

    @property
    def next_token(self) -> str:
        """The token that asks for the page behind this one; empty: there is none."""
        return page_token(self.next, self.name)

    def up_to(self, count: int) -> Listing:
        """Its first `count` tasks, at least one and not all, as a page."""
        last = self.tasks[count - 1]
        return Listing(self.tasks[:count], Place(last.create_time, last.id), self.name)


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
        name = _named(tenant, wanted)
        page = Page((), read_page_token(token, name))
        for _ in range(LOOKS):
            page = await self._catalogue.newest(tenant, wanted, before=page.next, limit=limit)
            if page.tasks or page.next is None:
                break
        return Listing(page.tasks, page.next, name)


def _named(tenant: str, wanted: TaskFilter) -> bytes:
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
