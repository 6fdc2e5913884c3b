"""The newest of many ordered runs, with as little read of each as will do.

Every partition holds a run for each status, newest first. A page wants the newest of all runs together: so a few
are read of each, and more only of those of which all that was read is on the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from shared.adapters.redis.layout import STATUS_SPAN
from shared.adapters.redis.store import Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping

    from shared.adapters.redis.store import RedisStore

_NEWEST = Script("newest")

Run = TypeVar("Run", bound="Hashable")
Mark = TypeVar("Mark", bound=tuple[int, bytes])

FEW_RUNS = 16
"""Of so few runs a whole page is read at once: a round trip more would cost more than what it might save."""


async def newest(
    read: Callable[[Mapping[Run, Mark], int], Awaitable[Mapping[Run, list[Mark]]]],
    runs: Iterable[Run],
    *,
    before: Mark,
    limit: int,
) -> tuple[list[Mark], bool]:
    """The `limit` greatest marks below `before`, the greatest first, and whether there may be more.

    `read(marks, count)` gives of each run in `marks` what is below that mark, greatest first: `count`, or a few
    more, or all that there is.
    """
    found: list[Mark] = []
    unread = dict.fromkeys(runs, before)
    count = 2 + 2 * limit // len(unread)
    while True:
        found.sort(reverse=True)
        wanted = unread
        if len(found) >= limit:
            # What a run has yet to give is below the last it gave: it matters only if that is on the page.
            wanted = {run: mark for run, mark in unread.items() if mark > found[limit - 1]}
        if not wanted:
            return found[:limit], len(found) > limit or bool(unread)
        count = min(count, limit + 1) if len(wanted) > FEW_RUNS else limit + 1
        for run, marks in (await read(wanted, count)).items():
            found += marks
            if len(marks) < count:
                del unread[run]
            else:
                unread[run] = min(marks)
        count *= 2


IndexRun = tuple[str, int]
"""A partition and a status: what an index has of both, newest first."""

IndexMark = tuple[int, bytes]
"""A time and a member: what a run is ordered by."""


def index_reader(
    store: RedisStore, key: Callable[[str], str], *, since: int = 0
) -> Callable[[Mapping[IndexRun, IndexMark], int], Awaitable[dict[IndexRun, list[IndexMark]]]]:
    """What `newest` reads with, from indexes of which `key` gives a partition's; nothing from before `since`."""

    async def read(marks: Mapping[IndexRun, IndexMark], count: int) -> dict[IndexRun, list[IndexMark]]:
        # Runs of a partition that are read from the same mark on are read by one script.
        together: dict[tuple[str, IndexMark], list[int]] = {}
        for (partition, status), mark in marks.items():
            together.setdefault((partition, mark), []).append(status)
        replies = await store.run_all(
            _NEWEST,
            [
                ((key(partition),), (count, STATUS_SPAN, time, since, int(bool(member)), *those))
                for (partition, (time, member)), those in together.items()
            ],
        )
        found: dict[IndexRun, list[IndexMark]] = {run: [] for run in marks}
        for (partition, mark), reply in zip(together, replies, strict=True):
            for member, score in zip(reply[::2], reply[1::2], strict=True):
                status, time = divmod(int(score), STATUS_SPAN)
                if (time, member) < mark:
                    found[partition, status].append((time, member))
        return found

    return read
