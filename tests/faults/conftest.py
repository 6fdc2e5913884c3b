"""Stacks that may be broken: their processes on shared servers, or on servers of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.failure_logs import pytest_runtest_makereport
from tests.servers import PrivateRabbitMQ
from tests.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture
def own_stack(tmp_path: Path, redis_url: str, rabbitmq_url: str) -> Iterator[Stack]:
    """A stack with nothing started yet, on the shared servers: break its processes, not the servers."""
    with Stack(tmp_path / "stack", redis_url=redis_url, rabbitmq_url=rabbitmq_url) as stack:
        yield stack


@pytest.fixture(scope="package")
def _rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbitMQ]:
    with PrivateRabbitMQ(tmp_path_factory.mktemp("breakable-rabbitmq")) as node:
        yield node


@pytest.fixture
def rabbit(_rabbit: PrivateRabbitMQ) -> PrivateRabbitMQ:
    """A RabbitMQ node that a test may break, running. It may hold what earlier tests left."""
    if not _rabbit.running:
        _rabbit.stop()
        _rabbit.start()
    return _rabbit


@pytest.fixture
def stack_on_rabbit(tmp_path: Path, redis_url: str, rabbit: PrivateRabbitMQ) -> Iterator[Stack]:
    """A stack with nothing started yet, on the RabbitMQ that may be broken."""
    with Stack(tmp_path / "stack", redis_url=redis_url, rabbitmq_url=rabbit.url, tidy=False) as stack:
        yield stack
