from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.domain.task import AttemptTerms
from worker_service.command_file import CommandHandler
from worker_service.registry import HandlerError, Place, load_handlers, place_of

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, text: str) -> str:
    file = folder / "handlers.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_a_file_declares_commands_with_terms_variables_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    name = write(
        tmp_path,
        """
        [[handler]]
        type = "a.b"
        command = ["sh", "-c", "true"]
        cwd = "scripts"
        env = { LANG = "C" }
        max_attempts = 5
        attempt_timeout = 0.5
        [[handler]]
        type = "c"
        command = ["sh"]
        """,
    )
    handlers = load_handlers([name])
    first, second = handlers["a.b"], handlers["c"]
    assert isinstance(first, CommandHandler)
    assert isinstance(second, CommandHandler)
    assert (first.command, first.folder) == (("sh", "-c", "true"), (tmp_path / "scripts").resolve())
    assert first.environment == {"LANG": "C"}
    assert first.terms(AttemptTerms()) == AttemptTerms(max_attempts=5, attempt_timeout=500)
    assert (second.folder, second.terms(AttemptTerms())) == (tmp_path.resolve(), AttemptTerms())
    assert place_of(first) is Place.COMMAND


def test_a_program_may_be_named_by_a_path_seen_from_its_folder(tmp_path: Path) -> None:
    program = tmp_path / "run.sh"
    program.write_text("#!/bin/sh\n")
    name = write(tmp_path, '[[handler]]\ntype = "a"\ncommand = ["./run.sh"]\n')
    with pytest.raises(HandlerError, match=r"there is no program '\./run\.sh', or it may not be executed"):
        load_handlers([name])
    program.chmod(0o755)
    assert set(load_handlers([name])) == {"a"}


GOOD = 'type = "a"\ncommand = ["sh"]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[handler", "is not TOML"),
        ("", r"has no \[\[handler\]\] table"),
        ("handler = 3", r"has no \[\[handler\]\] table"),
        (f"[other]\n[[handler]]\n{GOOD}", "has other: it may hold"),
        ('[[handler]]\ncommand = ["sh"]', "handler 1: type must be text"),
        ('[[handler]]\ntype = "a b"\ncommand = ["sh"]', "a type is 1 to 128 letters"),
        ('[[handler]]\ntype = "a"', "command must be a list of words"),
        ('[[handler]]\ntype = "a"\ncommand = "sh"', "command must be a list of words"),
        ('[[handler]]\ntype = "a"\ncommand = []', "command must be a list of words"),
        ('[[handler]]\ntype = "a"\ncommand = ["no-such-program-1"]', "there is no program 'no-such-program-1'"),
        (f'[[handler]]\n{GOOD}cwd = "nowhere"', "cwd must name a folder.*'nowhere'"),
        (f"[[handler]]\n{GOOD}env = {{ A = 1 }}", "env must be a table of text"),
        (f"[[handler]]\n{GOOD}max_attempts = 0", "max_attempts must be between 1 and 100, is 0"),
        (f"[[handler]]\n{GOOD}max_attempts = 1.5", "max_attempts must be a number, is 1.5"),
        (f"[[handler]]\n{GOOD}attempt_timeout = true", "attempt_timeout must be a number, is True"),
        (f'[[handler]]\n{GOOD}max_backoff = "1 s"', "max_backoff must be a number"),
        (f"[[handler]]\n{GOOD}\n[[handler]]\n{GOOD}timeout = 3", "handler 2: timeout is not known"),
        (f"[[handler]]\n{GOOD}\n[[handler]]\n{GOOD}", "Type 'a' has two handlers"),
    ],
)
def test_what_cannot_work_is_refused_with_the_place_and_the_reason(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(HandlerError, match=said):
        load_handlers([write(tmp_path, text)])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HandlerError, match=r"names .*none\.toml, which cannot be read"):
        load_handlers([str(tmp_path / "none.toml")])
