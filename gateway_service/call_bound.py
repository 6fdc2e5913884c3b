"""The bound on unary calls, whatever way they come: how many at once, and for how long."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway_service.faults import TooManyCallsError
from shared.ports import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class CallBound:
    """Counts the unary calls of this process. Watches have a bound of their own."""

    def __init__(self, *, most: int, deadline: float) -> None:
        """`most` calls at once; each may take `deadline` seconds."""
        self.deadline = deadline
        self.under_way = 0
        self._most = most

    @asynccontextmanager
    async def one(self, *, within: float | None = None) -> AsyncIterator[None]:
        """Around one call. `within`: seconds that its client grants, if fewer than the deadline.

        Raises TooManyCallsError, or StoreUnavailableError when time is up.
        """
        if self.under_way >= self._most:
            raise TooManyCallsError(f"This gateway answers {self._most} calls already; try again.")
        limit = self.deadline if within is None else min(within, self.deadline)
        self.under_way += 1
        try:
            async with asyncio.timeout(limit):
                yield
        except TimeoutError:
            raise StoreUnavailableError(f"no answer within {limit:.3f} s") from None
        finally:
            self.under_way -= 1
