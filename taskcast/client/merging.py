"""Several streams of updates as one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

Update = TypeVar("Update")


async def merged(sources: Sequence[AsyncGenerator[Update, None]]) -> AsyncGenerator[Update, None]:
    """What the sources yield, as it comes, each in its own order; ends with the last of them.

    The first error of one is raised, and the others are closed.
    """
    steps = {asyncio.ensure_future(anext(source)): source for source in sources}
    try:
        while steps:
            done, _ = await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
            for step in done:
                try:
                    update = step.result()
                except StopAsyncIteration:
                    del steps[step]
                    continue
                source = steps.pop(step)
                steps[asyncio.ensure_future(anext(source))] = source
                yield update
    finally:
        for step in steps:
            step.cancel()
        await asyncio.gather(*steps, return_exceptions=True)
        for source in sources:
            await source.aclose()
