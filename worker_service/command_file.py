"""Handlers in any language: a TOML file that says which command runs the tasks of a type.

    [[handler]]
    type = "report.word-count"
    command = ["python3", "count.py"]
    attempt_timeout = 30

See docs/handlers.md for the whole.
"""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker_service.terms import NOTHING_DECLARED, TERMS, DeclaredTerms, HandlerError, check_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.task import AttemptTerms

FILE_ENDING = ".toml"
KEYS = ("type", "command", "env", "cwd", *TERMS)


@dataclass(frozen=True, slots=True)
class CommandHandler:
    """A command that runs tasks of one type."""

    type: str
    command: tuple[str, ...]
    folder: Path
    """Where it is started."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables over those of the worker."""
    declared: DeclaredTerms = NOTHING_DECLARED

    def terms(self, defaults: AttemptTerms) -> AttemptTerms:
        """What the file says of its attempts, over the worker's `defaults`."""
        return self.declared.over(defaults)


def read_command_file(name: str) -> list[CommandHandler]:
    """The handlers of a TOML file. Raises HandlerError, which says what is wrong and where."""
    path = Path(name)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise HandlerError(f"WORKER_HANDLERS names {name}, which cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise HandlerError(f"{name} is not TOML: {error}.") from error
    entries = content.pop("handler", None)
    if content:
        raise HandlerError(f"{name} has {', '.join(sorted(content))}: it may hold [[handler]] tables only.")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise HandlerError(f"{name} has no [[handler]] table.")
    folder = path.resolve().parent
    return [_handler(entry, f"{name}, handler {number}", folder) for number, entry in enumerate(entries, 1)]


def _handler(entry: dict[str, Any], where: str, folder: Path) -> CommandHandler:
    unknown = sorted(set(entry) - set(KEYS))
    if unknown:
        raise HandlerError(f"{where}: {', '.join(unknown)} is not known; there are {', '.join(KEYS)}.")
    type_ = entry.get("type")
    if not isinstance(type_, str):
        raise HandlerError(f'{where}: type must be text, like "report.render".')
    where = f"{where} ({type_!r})"
    check_type(type_, where)
    cwd = entry.get("cwd", ".")
    if not isinstance(cwd, str) or not (folder / cwd).is_dir():
        raise HandlerError(f"{where}: cwd must name a folder, seen from the file's own, is {cwd!r}.")
    environment = entry.get("env", {})
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        raise HandlerError(f'{where}: env must be a table of text, like {{ LANG = "C" }}.')
    return CommandHandler(
        type=type_,
        command=_command(entry.get("command"), where, (folder / cwd).resolve(), environment),
        folder=(folder / cwd).resolve(),
        environment=environment,
        declared=_terms(entry, where),
    )


def _command(command: object, where: str, folder: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise HandlerError(f'{where}: command must be a list of words, like ["node", "render.js"].')
    program = command[0]
    # As the system will look for it: a name on PATH, a path from the folder in which it is started.
    found = shutil.which(folder / program) if "/" in program else shutil.which(program, path=environment.get("PATH"))
    if found is None:
        raise HandlerError(f"{where}: there is no program {program!r}, or it may not be executed.")
    return tuple(command)


def _terms(entry: dict[str, Any], where: str) -> DeclaredTerms:
    for name in TERMS:
        value = entry.get(name)
        wanted = int if name == "max_attempts" else (int, float)
        if value is not None and (isinstance(value, bool) or not isinstance(value, wanted)):
            raise HandlerError(f"{where}: {name} must be a number, is {value!r}.")
    declared = DeclaredTerms(**{name: entry.get(name) for name in TERMS})
    declared.check(where)
    return declared
