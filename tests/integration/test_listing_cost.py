"""A page costs the same however many tasks there are, for every filter but labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from benchmarks.lists import FEW, FILTERS, PAGE, TENANT, Filling

if TYPE_CHECKING:
    from tests.servers import PrivateValkey, ValkeyFactory

pytestmark = pytest.mark.integration


def commands(server: PrivateValkey) -> int:
    """How many the server has carried out, those within scripts included."""
    with redis.Redis.from_url(server.url) as client:
        return sum(int(each["calls"]) for name, each in client.info("commandstats").items() if name != "cmdstat_info")


async def test_a_page_asks_no_more_of_the_store_at_five_thousand_tasks_than_at_one_thousand(
    valkey_factory: ValkeyFactory,
) -> None:
    server = valkey_factory()
    filling = Filling(server.url, "t", now=1_800_000_000_000)
    try:
        asked: list[dict[str, int]] = []
        for tasks in (FEW, 5 * FEW):
            await filling.fill(tasks)
            asked.append({})
            for name, wanted in FILTERS.items():
                before = commands(server)
                await filling.record.catalogue.newest(TENANT, wanted, before=None, limit=PAGE)
                asked[-1][name] = commands(server) - before
        for name in FILTERS:
            assert asked[1][name] <= 1.1 * asked[0][name] + 20, asked
    finally:
        await filling.close()


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_pages_take_no_more_of_the_store_s_processor_at_two_hundred_thousand_tasks_than_at_one_thousand(
    valkey_factory: ValkeyFactory,
) -> None:
    filling = Filling(valkey_factory().url, "t", now=1_800_000_000_000)
    try:
        seconds: list[float] = []
        for tasks in (FEW, 200 * FEW):
            await filling.fill(tasks)
            # A page for each filter: what a thousand tasks do not fill, some of them find cheap.
            seconds.append(sum([(await filling.page(wanted))[1] for wanted in FILTERS.values()]))
        assert seconds[1] / seconds[0] <= 1.5, seconds
    finally:
        await filling.close()
