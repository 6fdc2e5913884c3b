from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.domain.task import AttemptTerms, TaskSpec
from tests.unit.domain.lives import processing
from worker_service import TaskContext, task
from worker_service.registry import HandlerError, load_handlers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@task("report.render", max_attempts=5, attempt_timeout=0.5, initial_backoff=0, backoff_multiplier=1.5, jitter=0)
async def render(ctx: TaskContext, payload: dict[str, int]) -> int:
    return payload["pages"]


@task("report.count")
def count(ctx: TaskContext, payload: list[int]) -> int:
    return len(payload)


@pytest.fixture
def context() -> TaskContext:
    task = processing(TaskSpec(type="report.render")).task
    assert task is not None
    return TaskContext(task, report=lambda _progress: None, loop=None)


def test_a_handler_is_still_the_function_it_was(context: TaskContext) -> None:
    assert count(context, [1, 2]) == 2
    assert (count.type, count.is_async) == ("report.count", False)


async def test_an_async_handler_is_still_awaited(context: TaskContext) -> None:
    assert await render(context, {"pages": 3}) == 3
    assert render.is_async


def test_what_a_handler_says_of_its_attempts_goes_before_the_worker_s_defaults() -> None:
    defaults = AttemptTerms(max_attempts=9, initial_backoff=7, max_backoff=8, attempt_timeout=99)
    assert render.terms(defaults) == AttemptTerms(
        max_attempts=5, initial_backoff=0, max_backoff=8, backoff_multiplier=1.5, jitter=0, attempt_timeout=500
    )
    assert count.terms(defaults) == defaults


def test_an_attempt_timeout_of_zero_means_none() -> None:
    endless = task("endless", attempt_timeout=0)(lambda _ctx, _payload: None)
    assert endless.terms(AttemptTerms()).attempt_timeout == 0


@pytest.mark.parametrize("type_", ["", " ", ".dot", "a b", "a" * 129, "ä", "a/b", "a\n"])
def test_a_type_that_no_task_can_have_is_refused(type_: str) -> None:
    with pytest.raises(HandlerError, match="a type is 1 to 128 letters"):
        task(type_)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"max_attempts": 0}, "max_attempts must be between 1 and 100, is 0"),
        ({"max_attempts": 101}, "max_attempts must be between 1 and 100, is 101"),
        ({"attempt_timeout": -1}, "attempt_timeout must be between 0 seconds and ten years, is -1"),
        ({"attempt_timeout": float("nan")}, "attempt_timeout must be between"),
        ({"initial_backoff": -0.1}, "initial_backoff must be between"),
        ({"max_backoff": 315_360_001}, "max_backoff must be between"),
        ({"backoff_multiplier": 0.5}, "backoff_multiplier must be between 1 and 100, is 0.5"),
        ({"backoff_multiplier": 101}, "backoff_multiplier must be between 1 and 100, is 101"),
        ({"jitter": -0.1}, "jitter must be between 0 and 1, is -0.1"),
        ({"jitter": 20}, "jitter must be between 0 and 1, is 20"),
    ],
)
def test_terms_that_cannot_hold_are_refused_where_they_are_declared(terms: dict[str, Any], said: str) -> None:
    with pytest.raises(HandlerError, match=f"@task\\('report.render'\\): {said}"):
        task("report.render", **terms)


def test_a_handler_that_yields_is_refused() -> None:
    def sync_pages(_ctx: TaskContext, _payload: Any) -> Any:
        yield 1

    async def async_pages(_ctx: TaskContext, _payload: Any) -> Any:
        yield 1

    for function in (sync_pages, async_pages):
        with pytest.raises(HandlerError, match="returns its result, it does not yield"):
            task("report.render")(function)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_prefix: str) -> Callable[[str], str]:
    """Writes a module of handlers; gives its name, which no other test has."""
    monkeypatch.syspath_prepend(tmp_path)
    numbers = iter(range(100))

    def write(text: str) -> str:
        name = f"handlers_{key_prefix.replace('-', '_')}_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(f"from worker_service import task\n{text}")
        return name

    return write


ONE = "@task('{0}')\ndef {0}(ctx, payload): return payload\n"


def test_every_handler_of_every_named_module_is_found(module: Callable[[str], str]) -> None:
    handlers = load_handlers([module(ONE.format("a") + ONE.format("b")), module(ONE.format("c"))])
    assert {type_: handler.type for type_, handler in handlers.items()} == {"a": "a", "b": "b", "c": "c"}


def test_a_handler_that_two_modules_share_is_one_handler(module: Callable[[str], str]) -> None:
    first = module(ONE.format("a"))
    again = module(f"from {first} import a\nb = a\n")
    assert set(load_handlers([first, again, first])) == {"a"}


def test_no_modules_are_no_handlers() -> None:
    assert load_handlers([]) == {}


def test_a_module_that_is_not_there_is_named(module: Callable[[str], str]) -> None:
    with pytest.raises(HandlerError, match=r"WORKER_HANDLERS names no\.such\.module, which cannot be imported"):
        load_handlers(["no.such.module"])
    broken = module("import no_such_library\n")
    with pytest.raises(HandlerError, match=f"names {broken}, .*no_such_library"):
        load_handlers([broken])


def test_a_module_without_handlers_is_named(module: Callable[[str], str]) -> None:
    empty = module("def render(ctx, payload): return payload\n")
    with pytest.raises(HandlerError, match=f"names {empty}, which has no function with @task"):
        load_handlers([empty])


def test_two_handlers_of_one_type_are_refused(module: Callable[[str], str]) -> None:
    first, second = module(ONE.format("a")), module(ONE.format("a"))
    with pytest.raises(HandlerError, match=f"Type 'a' has two handlers; one of them is in {second}"):
        load_handlers([first, second])
