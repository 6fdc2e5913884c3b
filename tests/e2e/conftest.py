"""A running system for every test that breaks nothing, and one of its own for a test that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser import browser
from tests.failure_logs import pytest_runtest_makereport
from tests.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def standing_stack(tmp_path_factory: pytest.TempPathFactory, redis_url: str, rabbitmq_url: str) -> Iterator[Stack]:
    """Two gateways and two workers, with a lease of 2 s, for tests that leave every process alive."""
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, redis_url=redis_url, rabbitmq_url=rabbitmq_url) as stack:
        yield stack.start(gateways=2, workers=2)


@pytest.fixture
def own_stack(tmp_path: Path, redis_url: str, rabbitmq_url: str) -> Iterator[Stack]:
    """A stack of the test's own with nothing started yet, on the shared servers."""
    with Stack(tmp_path / "stack", redis_url=redis_url, rabbitmq_url=rabbitmq_url) as stack:
        yield stack


@pytest.fixture(scope="module")
def page_stack(tmp_path_factory: pytest.TempPathFactory, redis_url: str, rabbitmq_url: str) -> Iterator[Stack]:
    """One gateway and one worker, for the tests of the page in one module."""
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, redis_url=redis_url, rabbitmq_url=rabbitmq_url) as stack:
        yield stack.start()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for the tests of one module, none of which may be asynchronous: its driver has a loop of its own."""
    with browser() as chromium:
        yield chromium
