"""The documents say what is so: paths, settings, limits, times, and the diagram of states."""

from __future__ import annotations

import importlib
import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, get_args

import annotated_types
import pytest

from gateway_service.settings import GatewaySettings
from shared.domain.commands import (
    Abort,
    Cancel,
    Claim,
    Command,
    ConfirmDispatch,
    Fail,
    HandBack,
    PostponeDispatch,
    RenewLease,
    ReportProgress,
    Retry,
    Submit,
    Succeed,
    Wake,
)
from shared.domain.decide import Rescheduled, decide
from shared.domain.evolve import evolve
from shared.domain.retry import NOT_COUNTED, attempts_used
from shared.domain.submission import Limits
from shared.domain.task import AttemptTerms, RetryPolicy, Task, TaskError, TaskEvent, TaskProgress, TaskSpec, TaskStatus
from tests.documents import ARCHITECTURE, OPERATIONS, ROOT, Document, all_documents
from worker_service.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

# --- Paths and links ---------------------------------------------------------------------------------------------

DOCUMENTS = all_documents()
_PATH = re.compile(r"\.?[\w-]+(\.[\w-]+)*(/[\w.-]+)*/?")
_FILE_NAME = re.compile(r".*\.(md|py|toml|yml|lock|lua|proto)")
MADE_LATER = (".venv/",)
"""What `make install` makes."""


def _named_paths(document: Document) -> Iterator[str]:
    for span in document.spans():
        is_path = _PATH.fullmatch(span) and ("/" in span or _FILE_NAME.fullmatch(span))
        if is_path and not span.startswith(MADE_LATER):
            yield span


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_relative_link_leads_somewhere(document: Document) -> None:
    for link in document.links():
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = document.path.parent / path if path else document.path
        assert target.exists(), f"{document} links to {link}"
        assert not anchor or anchor in Document(target).anchors(), f"{document} links to {link}: no such heading"


# A page on a past decision may name what has gone since.
@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.path.parent.name != "adr"], ids=str)
def test_every_path_that_is_named_exists(document: Document) -> None:
    missing = [path for path in _named_paths(document) if not (ROOT / path).exists()]
    assert not missing


# --- Settings ----------------------------------------------------------------------------------------------------

_VARIABLE = re.compile(r"\b(?:REDIS|RABBITMQ|TASKCAST|GATEWAY|WORKER)_[A-Z_]*[A-Z]\b")


def _settings() -> dict[str, FieldInfo]:
    """The fields of both services' settings, by environment variable."""
    classes = (GatewaySettings, WorkerSettings)
    return {str(field.alias): field for kind in classes for field in kind.model_fields.values()}


def _other_variables() -> set[str]:
    """Variables that are read elsewhere: by the command line, the failpoints and the compose file."""
    found = re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    found += re.findall(r'environ\.get\("([A-Z_]+)"', (ROOT / "shared/failpoints.py").read_text(encoding="utf-8"))
    for source in (ROOT / "taskcast/cli").glob("*.py"):
        found += re.findall(r'envvar="([A-Z_]+)"', source.read_text(encoding="utf-8"))
    return set(found)


def _as_written(default: object) -> str:
    match default:
        case "" | ():
            return "empty"
        case bool():
            return str(default).lower()
        case float() if default.is_integer():
            return str(int(default))
        case tuple():
            return ",".join(default)
        case _:
            return str(default)


def _bounds(field: FieldInfo) -> Iterator[float]:
    has_least = any(isinstance(bound, annotated_types.Ge) for bound in field.metadata)
    for bound in field.metadata:
        match bound:
            case annotated_types.Ge(ge=number) | annotated_types.Le(le=number):
                yield float(number)  # type: ignore[arg-type]  # All of ours are numbers.
            case annotated_types.Gt(gt=number) if not has_least:
                yield float(number)  # type: ignore[arg-type]
            case annotated_types.MaxLen(max_length=number):
                yield float(number)
            case _:
                pass  # Patterns are told in words.


def _numbers(cell: str) -> set[float]:
    return {float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", cell)}


def _setting_rows() -> dict[str, tuple[str, str]]:
    """Default and limit of each variable, as the tables of docs/operations.md have them."""
    rows = {name.strip("`"): (default, limit) for name, default, _, limit in OPERATIONS.rows(4)}
    return {name: row for name, row in rows.items() if _VARIABLE.fullmatch(name)}


def test_the_settings_tables_have_every_variable_and_no_other() -> None:
    assert set(_setting_rows()) == set(_settings())


@pytest.mark.parametrize("variable", sorted(_settings()))
def test_a_setting_has_the_default_and_the_bounds_that_its_row_says(variable: str) -> None:
    default, limit = _setting_rows()[variable]
    field = _settings()[variable]
    assert default.strip("`") == _as_written(field.default)
    missing = [bound for bound in _bounds(field) if bound not in _numbers(limit)]
    assert not missing, f"{variable}: the limit is given as {limit!r}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_no_document_names_a_variable_that_nothing_reads(document: Document) -> None:
    # Error codes look like variables; one begins like ours.
    code = [*document.spans(), *(block for language in ("sh", "console") for block in document.blocks(language))]
    named = {name for piece in code for name in _VARIABLE.findall(piece)} - NOT_COUNTED
    assert named <= set(_settings()) | _other_variables()


# --- Limits and times --------------------------------------------------------------------------------------------


def test_the_table_of_limits_is_that_of_the_rules() -> None:
    names = {field.name for field in fields(Limits)}
    told = {name.strip("`"): limit for _, limit, name in OPERATIONS.rows(3) if name.strip("`") in names}
    assert set(told) == names
    for name, limit in told.items():
        assert float(getattr(Limits(), name)) in _numbers(limit), name


UNITS = {"s": 1, "min": 60, "h": 3_600}


def test_the_times_fixed_in_the_code_are_as_told() -> None:
    rows = [row for row in OPERATIONS.rows(3) if re.fullmatch(r"`[A-Z_]+`", row[0]) and row[2].endswith(".py`")]
    assert rows
    for name, told, file in rows:
        number, unit = told.split()
        module = importlib.import_module(file.strip("`").removesuffix(".py").replace("/", "."))
        constant = float(getattr(module, name.strip("`")))
        in_millis = module.__annotations__.get(name.strip("`")) == "Millis"
        assert constant / (1_000 if in_millis else 1) == float(number) * UNITS[unit], name


# --- The diagram of states ---------------------------------------------------------------------------------------

Arrow = tuple[str, str, str]
"""From, command, to."""

BEGIN = END = "[*]"
TASK_ID = "0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e"
ERROR = TaskError(code="BROKEN", message="It broke.")
LEASE = 10_000
SPECS = [
    TaskSpec(
        type="report.render",
        timeout=timeout,
        attempt_timeout=attempt_timeout,
        retry_policy=RetryPolicy(max_attempts=attempts, initial_backoff=0),
    )
    for timeout in (None, 20_000)
    for attempt_timeout in (0, 5_000)
    for attempts in (1, 2)
]
LATER = (0, 6_000, 12_000, 25_000)
"""Nothing is due; the attempt's time is over; so is its lease; so is the task's time."""

MOST_ATTEMPTS = 3


def _commands(attempt: int, spec: TaskSpec) -> list[Command]:
    return [
        Submit(task_id=TASK_ID, tenant="acme", spec=spec),
        Claim(worker="worker-1", terms=AttemptTerms(), lease=LEASE),
        RenewLease(attempt=attempt, lease=LEASE),
        ReportProgress(attempt=attempt, progress=TaskProgress(percent=50), lease=LEASE),
        Succeed(attempt=attempt, result=b"r"),
        Fail(attempt=attempt, error=ERROR),
        Retry(attempt=attempt, error=ERROR),
        Abort(attempt=attempt, error=ERROR),
        HandBack(attempt=attempt),
        Cancel(reason="enough"),
        ConfirmDispatch(),
        PostponeDispatch(),
        Wake(),
    ]


def _arrows_of_the_rules() -> set[Arrow]:
    """Every command in every kind of situation that a task can get into, and what becomes of it."""
    arrows: set[Arrow] = set()
    known: set[tuple[object, ...]] = set()
    to_visit: list[tuple[TaskSpec, Task | None]] = [(spec, None) for spec in SPECS]
    while to_visit:
        spec, task = to_visit.pop()
        for command in _commands(task.attempt if task else 1, spec):
            for later in LATER:
                verdict = decide(task, command, (task.update_time if task else 0) + later)
                if isinstance(verdict, TaskEvent):
                    after = evolve(task, verdict)
                    arrows.add((task.status.name if task else BEGIN, type(command).__name__, after.status.name))
                elif isinstance(verdict, Rescheduled) and task is not None:
                    after = replace(task, timers=verdict.timers)
                else:
                    continue
                situation = (SPECS.index(spec), after.status, after.attempt, attempts_used(after), bool(after.progress))
                if situation not in known and after.attempt <= MOST_ATTEMPTS:
                    known.add(situation)
                    to_visit.append((spec, after))
    return arrows


def _arrows_of_the_diagram() -> set[Arrow]:
    [diagram] = [block for block in ARCHITECTURE.blocks("mermaid") if block.startswith("stateDiagram-v2")]
    arrows: set[Arrow] = set()
    for line in diagram.splitlines()[1:]:
        parsed = re.fullmatch(r" +(\S+) --> (\S+?)(?:: (.+))?", line)
        assert parsed, f"an arrow of the diagram cannot be read: {line}"
        before, after, commands = parsed.groups()
        arrows |= {(before, command, after) for command in (commands or "").split(", ")}
    return arrows


def test_the_exploration_of_the_rules_tries_every_command() -> None:
    assert [type(command) for command in _commands(1, SPECS[0])] == list(get_args(Command))


def test_the_diagram_of_states_has_the_arrows_that_the_rules_allow() -> None:
    ends: set[Arrow] = {(status.name, "", END) for status in TaskStatus if status.is_terminal}
    assert _arrows_of_the_diagram() == _arrows_of_the_rules() | ends
