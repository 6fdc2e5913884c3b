"""Shows the logs of the running processes beside the failure of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.stack import RUNNING

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """For a conftest to import. It must run before the fixtures stop the processes, and does."""
    report = yield
    if report.failed and report.when in {"setup", "call"}:
        for stack in list(RUNNING):
            report.sections += stack.logs()
    return report
