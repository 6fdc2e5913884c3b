"""Fixtures that every test may use: the servers, and a corner of the record for each test."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.servers import (
    PrivateRabbitMQ,
    PrivateValkey,
    RabbitMQFactory,
    ServerMissingError,
    ValkeyFactory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# How long an example takes says more of what else the machine does than of the code.
hypothesis.settings.register_profile("taskcast", deadline=None)
hypothesis.settings.load_profile("taskcast")


@contextlib.contextmanager
def _a_missing_server_fails_with_one_sentence() -> Iterator[None]:
    try:
        yield
    except ServerMissingError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Redis that the tests share: REDIS_URL where it is set, else a private server.

    It may hold other keys: use `key_prefix`, and flush nothing.
    """
    if given := os.environ.get("REDIS_URL"):
        yield given
        return
    with _a_missing_server_fails_with_one_sentence():
        server = PrivateValkey(tmp_path_factory.mktemp("valkey"))
    with server:
        server.start()
        yield server.url


@pytest.fixture(scope="session")
def rabbitmq_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The RabbitMQ that the tests share: RABBITMQ_URL where it is set, else a private node.

    It may hold other queues: put `key_prefix` into every name.
    """
    if given := os.environ.get("RABBITMQ_URL"):
        yield given
        return
    with _a_missing_server_fails_with_one_sentence():
        server = PrivateRabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    with server:
        server.start()
        yield server.url


@pytest.fixture
def valkey_factory(tmp_path: Path) -> Iterator[ValkeyFactory]:
    """Starts a Valkey of the test's own, as often as it is called; all are stopped after the test."""
    with contextlib.ExitStack() as started:
        numbers = iter(range(1, 1_000))

        def start(
            *,
            appendonly: bool = False,
            cluster_mode: bool = False,
            settings: Mapping[str, str] | None = None,
        ) -> PrivateValkey:
            with _a_missing_server_fails_with_one_sentence():
                server = PrivateValkey(
                    tmp_path / f"valkey-{next(numbers)}",
                    appendonly=appendonly,
                    cluster_mode=cluster_mode,
                    settings=settings,
                )
            started.enter_context(server).start()
            return server

        yield start


@pytest.fixture
def rabbitmq_factory(tmp_path: Path) -> Iterator[RabbitMQFactory]:
    """Starts a RabbitMQ node of the test's own, as often as it is called; all are stopped after the test."""
    with contextlib.ExitStack() as started:
        numbers = iter(range(1, 1_000))

        def start(*, settings: Mapping[str, str] | None = None) -> PrivateRabbitMQ:
            with _a_missing_server_fails_with_one_sentence():
                server = PrivateRabbitMQ(tmp_path / f"rabbitmq-{next(numbers)}", settings=settings)
            started.enter_context(server).start()
            return server

        yield start


@pytest.fixture
def key_prefix() -> str:
    """A prefix for this test's keys and queues, like t-1f2e3d4c."""
    return f"t-{secrets.token_hex(4)}"
