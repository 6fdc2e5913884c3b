"""The newest of many ordered runs, with as little read of each as will do.

Every partition holds a run for each status, newest first. A page wants the newest of all runs together: so a few
are read of each, and more only of those of which all that was read is on the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping

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
