"""Handlers: how they are written, and how a worker finds them."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from shared.domain.submission import NAME, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shared.domain.task import AttemptTerms

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class HandlerError(Exception):
    """A handler is declared in a way that cannot work; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Handler(Generic[Parameters, Returned]):
    """A function that runs tasks of one type. Calling it calls the function."""

    type: str
    function: Callable[Parameters, Returned]
    max_attempts: int | None = None
    attempt_timeout: float | None = None
    initial_backoff: float | None = None
    max_backoff: float | None = None
    backoff_multiplier: float | None = None
    jitter: float | None = None

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        """Call the function, as a test would."""
        return self.function(*args, **kwargs)

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop; otherwise in a thread."""
        return inspect.iscoroutinefunction(self.function)

    def terms(self, defaults: AttemptTerms) -> AttemptTerms:
        """What the handler says of its attempts, over the worker's `defaults`."""
        said: dict[str, int | float | None] = {
            "max_attempts": self.max_attempts,
            "attempt_timeout": _millis(self.attempt_timeout),
            "initial_backoff": _millis(self.initial_backoff),
            "max_backoff": _millis(self.max_backoff),
            "backoff_multiplier": self.backoff_multiplier,
            "jitter": self.jitter,
        }
        changes: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        return replace(defaults, **changes)


def task(
    type_: str,
    *,
    max_attempts: int | None = None,
    attempt_timeout: float | None = None,
    initial_backoff: float | None = None,
    max_backoff: float | None = None,
    backoff_multiplier: float | None = None,
    jitter: float | None = None,
) -> Callable[[Callable[Parameters, Returned]], Handler[Parameters, Returned]]:
    """Make a function the handler of tasks of `type_`.

    The function takes a TaskContext and the payload, and returns what JSON can hold. `async def` runs on the
    event loop, `def` in a thread. Times are seconds; `attempt_timeout=0` is none. What the submission of a task
    says has precedence, and the worker's settings stand in for what neither says.
    Raises HandlerError for a declaration that cannot work.
    """
    if not isinstance(type_, str):
        raise HandlerError('@task needs the type of its tasks: @task("report.render").')
    limits = Limits()
    where = f"@task({type_!r})"
    if not NAME.fullmatch(type_) or len(type_) > limits.type_length:
        raise HandlerError(f"{where}: a type is 1 to {limits.type_length} letters, digits, '.', '_', ':' and '-'.")
    if max_attempts is not None and not 1 <= max_attempts <= limits.max_attempts:
        raise HandlerError(f"{where}: max_attempts must be between 1 and {limits.max_attempts}, is {max_attempts}.")
    for name, value in {
        "attempt_timeout": attempt_timeout,
        "initial_backoff": initial_backoff,
        "max_backoff": max_backoff,
    }.items():
        if value is not None and not 0 <= value <= 315_360_000:
            raise HandlerError(f"{where}: {name} must be between 0 seconds and ten years, is {value}.")
    if backoff_multiplier is not None and not 1 <= backoff_multiplier <= 100:
        raise HandlerError(f"{where}: backoff_multiplier must be between 1 and 100, is {backoff_multiplier}.")
    if jitter is not None and not 0 <= jitter <= 1:
        raise HandlerError(f"{where}: jitter must be between 0 and 1, is {jitter}.")

    def declare(function: Callable[Parameters, Returned]) -> Handler[Parameters, Returned]:
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise HandlerError(f"{where}: a handler returns its result, it does not yield; report with ctx.progress.")
        return Handler(
            type_, function, max_attempts, attempt_timeout, initial_backoff, max_backoff, backoff_multiplier, jitter
        )

    return declare


def load_handlers(modules: Iterable[str]) -> Mapping[str, Handler[..., Any]]:
    """All handlers that stand in the named modules, by type.

    Raises HandlerError if a module cannot be imported or has none, or if two handlers claim one type.
    """
    handlers: dict[str, Handler[..., Any]] = {}
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise HandlerError(f"WORKER_HANDLERS names {name}, which cannot be imported: {error}.") from error
        found = [value for value in vars(module).values() if isinstance(value, Handler)]
        if not found:
            raise HandlerError(f"WORKER_HANDLERS names {name}, which has no function with @task.")
        for handler in found:
            other = handlers.setdefault(handler.type, handler)
            if other is not handler:
                raise HandlerError(f"Type {handler.type!r} has two handlers; one of them is in {name}.")
    return handlers


def _millis(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000)
