"""Handlers: how they are written, and how a worker finds them."""

from __future__ import annotations

import enum
import importlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar

from worker_service.command_file import FILE_ENDING, CommandHandler, read_command_file
from worker_service.terms import NOTHING_DECLARED, DeclaredTerms, HandlerError, check_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shared.domain.task import AttemptTerms

__all__ = ["AnyHandler", "Handler", "HandlerError", "Place", "load_handlers", "task"]

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

ISOLATIONS = (None, "process")


class Place(enum.Enum):
    """Where handlers run."""

    LOOP = "on the event loop"
    THREAD = "in a thread"
    PROCESS = "in a child process"
    COMMAND = "as a command"


@dataclass(frozen=True, slots=True)
class Handler(Generic[Parameters, Returned]):
    """A function that runs tasks of one type. Calling it calls the function."""

    type: str
    function: Callable[Parameters, Returned]
    declared: DeclaredTerms = NOTHING_DECLARED
    isolation: Literal["process"] | None = None

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        """Call the function, as a test would."""
        return self.function(*args, **kwargs)

    @property
    def is_async(self) -> bool:
        """Whether the function is an `async def`."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def place(self) -> Place:
        """Where it runs."""
        if self.isolation == "process":
            return Place.PROCESS
        return Place.LOOP if self.is_async else Place.THREAD

    def terms(self, defaults: AttemptTerms) -> AttemptTerms:
        """What the handler says of its attempts, over the worker's `defaults`."""
        return self.declared.over(defaults)


AnyHandler = Handler[..., Any] | CommandHandler
"""What runs tasks of one type."""


def place_of(handler: AnyHandler) -> Place:
    """Where a handler of either kind runs."""
    return handler.place if isinstance(handler, Handler) else Place.COMMAND


def task(
    type_: str,
    *,
    max_attempts: int | None = None,
    attempt_timeout: float | None = None,
    initial_backoff: float | None = None,
    max_backoff: float | None = None,
    backoff_multiplier: float | None = None,
    jitter: float | None = None,
    isolation: Literal["process"] | None = None,
) -> Callable[[Callable[Parameters, Returned]], Handler[Parameters, Returned]]:
    """Make a function the handler of tasks of `type_`.

    The function takes a TaskContext and the payload, and returns what JSON can hold. `async def` runs on the
    event loop, `def` in a thread; with `isolation="process"` either runs in a child process, which may crash without
    harm to other tasks and is killed if it ignores a cancellation. Times are seconds; `attempt_timeout=0` is none. What
    the submission of a task says has precedence, and the worker's settings stand in for what neither says.
    Raises HandlerError for a declaration that cannot work.
    """
    if not isinstance(type_, str):
        raise HandlerError('@task needs the type of its tasks: @task("report.render").')
    where = f"@task({type_!r})"
    check_type(type_, where)
    declared = DeclaredTerms(max_attempts, attempt_timeout, initial_backoff, max_backoff, backoff_multiplier, jitter)
    declared.check(where)
    if isolation not in ISOLATIONS:
        raise HandlerError(f'{where}: isolation is "process" or left out, is {isolation!r}.')

    def declare(function: Callable[Parameters, Returned]) -> Handler[Parameters, Returned]:
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise HandlerError(f"{where}: a handler returns its result, it does not yield; report with ctx.progress.")
        return Handler(type_, function, declared, isolation)

    return declare


def load_handlers(names: Iterable[str]) -> Mapping[str, AnyHandler]:
    """All handlers that stand in the named modules and TOML files, by type.

    Raises HandlerError if one cannot be read or has none, or if two handlers claim one type.
    """
    handlers: dict[str, AnyHandler] = {}
    for name in names:
        for handler in read_command_file(name) if name.endswith(FILE_ENDING) else _handlers_in_module(name):
            other = handlers.setdefault(handler.type, handler)
            if other is not handler:
                raise HandlerError(f"Type {handler.type!r} has two handlers; one of them is in {name}.")
    return handlers


def _handlers_in_module(name: str) -> list[Handler[..., Any]]:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise HandlerError(f"WORKER_HANDLERS names {name}, which cannot be imported: {error}.") from error
    found = [value for value in vars(module).values() if isinstance(value, Handler)]
    if not found:
        raise HandlerError(f"WORKER_HANDLERS names {name}, which has no function with @task.")
    return found
