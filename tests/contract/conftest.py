from __future__ import annotations

from typing import TYPE_CHECKING

import aio_pika
import pytest
from redis.asyncio import Redis

from shared.adapters.local import LocalBroker
from shared.adapters.rabbitmq import RabbitBroker
from shared.adapters.rabbitmq.topology import LINES, Topology
from shared.adapters.redis import RedisRecord
from tests.contract.listeners import until
from tests.servers import PrivateValkey, ServerMissingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from shared.ports import Broker


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateValkey]:
    """A cluster of one node: it refuses what any Redis Cluster refuses, such as a script with keys in two slots."""
    try:
        server = PrivateValkey(tmp_path_factory.mktemp("cluster"), cluster_mode=True)
    except ServerMissingError as error:
        pytest.fail(str(error), pytrace=False)
    with server:
        server.start()
        yield server


@pytest.fixture(params=["plain", "cluster"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The address of a store of each kind."""
    if request.param == "cluster":
        return str(request.getfixturevalue("cluster").url)
    return str(request.getfixturevalue("redis_url"))


@pytest.fixture
async def record(store_url: str, key_prefix: str) -> AsyncIterator[RedisRecord]:
    """A record in each kind of store."""
    record = RedisRecord(store_url, prefix=key_prefix)
    yield record
    await record.close()


@pytest.fixture
async def server(store_url: str) -> AsyncIterator[Redis]:
    """The store itself, to look at what the record's user cannot see."""
    client = Redis.from_url(store_url)
    yield client
    await client.aclose()


QUEUES = ("default", "slow")


@pytest.fixture(params=["local", "rabbitmq"])
async def broker(request: pytest.FixtureRequest, key_prefix: str) -> AsyncIterator[Broker]:
    if request.param == "local":
        local = LocalBroker()
        yield local
        await local.close()
        return
    url = str(request.getfixturevalue("rabbitmq_url"))
    rabbit = RabbitBroker(url, namespace=key_prefix)
    await until(lambda: rabbit.is_connected, "a connection to RabbitMQ")
    yield rabbit
    await rabbit.close()
    await _tidy(url, Topology(key_prefix))


async def _tidy(url: str, topology: Topology) -> None:
    """Leave nothing behind in a server that others use, too."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue in QUEUES:
            for priority in LINES:
                await channel.queue_delete(topology.line(queue, priority))
        await channel.queue_delete(topology.marker_queue)
        await channel.queue_delete(topology.news_queue)
        await channel.exchange_delete(topology.events_exchange)
