"""The Python of docs/handlers.md, run: its handlers, and the tests that it shows."""

from __future__ import annotations

from typing import Any

from tests.documents import ROOT, Document
from worker_service import TaskContext
from worker_service.command_file import KEYS
from worker_service.registry import Handler, Place

GUIDE = Document(ROOT / "docs" / "handlers.md")


def test_the_handlers_and_the_tests_of_the_guide_work() -> None:
    names: dict[str, Any] = {"TaskContext": TaskContext}
    for block in GUIDE.blocks("python"):
        exec(compile(block, str(GUIDE), "exec"), names)  # noqa: S102  # It is ours.
    handlers = [value for value in names.values() if isinstance(value, Handler)]
    assert [handler.place for handler in handlers] == [Place.PROCESS]
    shown = [value for name, value in names.items() if name.startswith("test_")]
    assert len(shown) == 3
    for test in shown:
        test()


def test_the_guide_names_every_key_of_a_handler_file() -> None:
    [block] = GUIDE.blocks("toml")
    assert [key for key in KEYS if key not in block] == []
