from __future__ import annotations

import time

import pytest

from shared.adapters.redis import RedisRecord
from shared.clock import RecordClock
from tests.deadlines import eventually

pytestmark = pytest.mark.integration


class EarlyRecord(RedisRecord):
    """A record in a place where it is an hour earlier."""

    async def server_time(self) -> int:
        return await super().server_time() - 3_600_000


async def test_the_clock_follows_the_record_and_not_the_host(redis_url: str) -> None:
    record = EarlyRecord(redis_url)
    clock = RecordClock(record)
    try:
        await clock.synchronise()
        before = await record.server_time()
        now = clock.now()
        after = await record.server_time()
        assert before - 50 <= now <= after + 50
        assert abs(now - (time.time() * 1_000 - 3_600_000)) < 5_000
    finally:
        await record.close()


async def test_between_two_looks_at_the_record_time_goes_on(redis_url: str) -> None:
    record = RedisRecord(redis_url)
    clock = RecordClock(record)
    try:
        await clock.synchronise()
        first = clock.now()
        eventually(lambda: clock.now() >= first + 30, within=2, what="30 ms to pass")
        last = first
        for _ in range(1_000):
            now = clock.now()
            assert now >= last
            last = now
    finally:
        await record.close()


async def test_a_clock_that_was_never_set_says_so(redis_url: str) -> None:
    record = RedisRecord(redis_url)
    try:
        with pytest.raises(RuntimeError, match="before it was synchronised"):
            RecordClock(record).now()
    finally:
        await record.close()
