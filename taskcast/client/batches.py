"""Many items in as few calls as their number and size allow, with an outcome for each."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import grpc

from taskcast.client.backoff import Backoff
from taskcast.client.errors import TaskcastError, from_status
from taskcast.v1 import task_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from taskcast.client.connection import Connection
    from taskcast.v1.task_service_pb2 import BatchTaskResult

Item = TypeVar("Item")

Outcome: TypeAlias = task_pb2.Task | TaskcastError
"""What became of one item of a batch: the task, or why there is none."""

MOST_ITEMS = 1_000
MOST_BYTES = 4 * 1024 * 1024 - 64 * 1024
"""The contract allows 4 MiB; some room is left for what frames the items."""

_BYTES_AROUND_AN_ITEM = 8


def split(items: Sequence[Item], size_of: Callable[[Item], int]) -> Iterator[Sequence[Item]]:
    """The items in order, in batches that a gateway takes. One that is too large goes by itself, to be refused."""
    batch: list[Item] = []
    size = 0
    for item in items:
        item_size = size_of(item) + _BYTES_AROUND_AN_ITEM
        if batch and (len(batch) == MOST_ITEMS or size + item_size > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item_size
    if batch:
        yield batch


class Batches(Generic[Item]):
    """One kind of batch call. Items whose failure may pass are sent again, until the client's deadline is over."""

    def __init__(
        self, connection: Connection, send: Callable[[Sequence[Item], float], Awaitable[Sequence[BatchTaskResult]]]
    ) -> None:
        """`send` makes the call, until a time of `time.monotonic()`."""
        self._connection = connection
        self._send = send
        self._no_answer: TaskcastError | None = None

    async def outcomes(self, items: Sequence[Item], size_of: Callable[[Item], int]) -> list[Outcome]:
        """An outcome for each item, in order.

        A failure of a whole call is the outcome of all its items. Once no gateway answers by the deadline, it is
        that of the items after them, too: they are not sent.
        """
        outcomes: list[Outcome] = []
        for batch in split(items, size_of):
            outcomes += [self._no_answer] * len(batch) if self._no_answer else await self._settle(batch)
        return outcomes

    async def _settle(self, batch: Sequence[Item]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        pending = list(range(len(batch)))
        backoff = Backoff()
        give_up_at = time.monotonic() + self._connection.deadline
        while pending:
            try:
                results = await self._send([batch[index] for index in pending], give_up_at)
            except TaskcastError as failure:
                outcomes |= dict.fromkeys(pending, failure)
                if failure.may_pass or failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                    self._no_answer = failure
                break
            outcomes |= zip(pending, map(self._outcome, results), strict=True)
            failures = {
                index: outcome
                for index, outcome in outcomes.items()
                if isinstance(outcome, TaskcastError) and outcome.may_pass
            }
            pending = sorted(failures)
            if not pending:
                break
            worst = max(failures.values(), key=lambda failure: failure.retry_delay or 0.0)
            pause = backoff.pause(worst.retry_delay)
            if time.monotonic() + pause >= give_up_at:
                break
            self._connection.tell(worst, pause)
            await asyncio.sleep(pause)
        return [outcomes[index] for index in range(len(batch))]

    def _outcome(self, result: BatchTaskResult) -> Outcome:
        if result.HasField("task"):
            return result.task
        return from_status(result.error, self._connection.address)
