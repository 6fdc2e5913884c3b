"""The state machine in full: what every command does to a task in every status."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.commands import (
    Abort,
    Cancel,
    Command,
    ConfirmDispatch,
    Fail,
    HandBack,
    PostponeDispatch,
    RenewLease,
    ReportProgress,
    Retry,
    Succeed,
    Wake,
)
from shared.domain.decide import (
    Refusal,
    RefusalReason,
    Rescheduled,
    decide,
)
from shared.domain.task import (
    EventType,
    Task,
    TaskEvent,
    TaskProgress,
    TaskSpec,
    TaskStatus,
)
from tests.unit.domain.lives import ERROR, LEASE, START, claim, ended, processing, submit, waiting

SPEC = TaskSpec(type="report.render", payload=b"p")
HALF = TaskProgress(percent=50.0)

COMMANDS: dict[str, Command] = {
    "submit": submit(SPEC),
    "claim": claim(),
    "renew": RenewLease(attempt=1, lease=LEASE),
    "progress": ReportProgress(attempt=1, progress=HALF, lease=LEASE),
    "succeed": Succeed(attempt=1, result=b"r"),
    "fail": Fail(attempt=1, error=ERROR),
    "retry": Retry(attempt=1, error=ERROR),
    "abort": Abort(attempt=1, error=ERROR),
    "hand back": HandBack(attempt=1),
    "cancel": Cancel(reason="enough"),
    "confirm dispatch": ConfirmDispatch(),
    "postpone dispatch": PostponeDispatch(),
    "wake too early": Wake(),
}

# An EventType is the event that follows, Rescheduled means other timers and no event, a RefusalReason a refusal.
Expected = EventType | RefusalReason | type[Rescheduled]

NO_TASK, NOT_WAITING, SUPERSEDED, NOT_DUE, EXISTS = (
    RefusalReason.NOT_FOUND,
    RefusalReason.NOT_WAITING,
    RefusalReason.SUPERSEDED,
    RefusalReason.NOT_DUE,
    RefusalReason.ALREADY_EXISTS,
)

MACHINE: dict[str, tuple[Expected, Expected, Expected]] = {
    # command            no task              WAITING              PROCESSING, attempt 1
    "submit": (EventType.SUBMITTED, EXISTS, EXISTS),
    "claim": (NO_TASK, EventType.STARTED, NOT_WAITING),
    "renew": (NO_TASK, SUPERSEDED, Rescheduled),
    "progress": (NO_TASK, SUPERSEDED, EventType.PROGRESSED),
    "succeed": (NO_TASK, SUPERSEDED, EventType.SUCCEEDED),
    "fail": (NO_TASK, SUPERSEDED, EventType.FAILED),
    "retry": (NO_TASK, SUPERSEDED, EventType.RETRY_SCHEDULED),
    "abort": (NO_TASK, SUPERSEDED, EventType.ERRORED),
    "hand back": (NO_TASK, SUPERSEDED, EventType.RETRY_SCHEDULED),
    "cancel": (NO_TASK, EventType.CANCELLED, EventType.CANCELLED),
    "confirm dispatch": (NO_TASK, Rescheduled, NOT_WAITING),
    "postpone dispatch": (NO_TASK, Rescheduled, NOT_WAITING),
    "wake too early": (NO_TASK, NOT_DUE, NOT_DUE),
}

STATUS_AFTER = {
    EventType.SUBMITTED: TaskStatus.WAITING,
    EventType.STARTED: TaskStatus.PROCESSING,
    EventType.PROGRESSED: TaskStatus.PROCESSING,
    EventType.RETRY_SCHEDULED: TaskStatus.WAITING,
    EventType.SUCCEEDED: TaskStatus.SUCCESS,
    EventType.FAILED: TaskStatus.FAILED,
    EventType.ERRORED: TaskStatus.ERROR,
    EventType.CANCELLED: TaskStatus.CANCELLED,
    EventType.TIMED_OUT: TaskStatus.TIMEOUT,
}

TERMINAL = [status for status in TaskStatus if status.is_terminal]


def check(task: Task | None, command: Command, expected: Expected) -> None:
    verdict = decide(task, command, START + 1)
    match expected:
        case RefusalReason():
            assert verdict == Refusal(expected)
        case EventType():
            assert isinstance(verdict, TaskEvent)
            assert verdict.type is expected
            assert verdict.status is STATUS_AFTER[expected]
        case _:
            assert isinstance(verdict, expected)


def test_the_table_names_every_command() -> None:
    assert {type(command) for command in COMMANDS.values()} == set(Command.__args__)
    assert set(MACHINE) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_does_where_there_is_no_task(name: str) -> None:
    check(None, COMMANDS[name], MACHINE[name][0])


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_does_to_a_waiting_task(name: str) -> None:
    check(waiting(SPEC).task, COMMANDS[name], MACHINE[name][1])


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_does_to_a_processing_task(name: str) -> None:
    check(processing(SPEC).task, COMMANDS[name], MACHINE[name][2])


@pytest.mark.parametrize("status", TERMINAL, ids=lambda status: status.name)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_terminal_task_refuses_every_command(name: str, status: TaskStatus) -> None:
    expected = RefusalReason.FINISHED
    if name == "submit":
        expected = RefusalReason.ALREADY_EXISTS
    elif name == "cancel" and status is TaskStatus.CANCELLED:
        expected = RefusalReason.ALREADY_CANCELLED
    check(ended(SPEC, status).task, COMMANDS[name], expected)


@pytest.mark.parametrize("name", ["renew", "progress", "succeed", "fail", "retry", "abort", "hand back"])
@pytest.mark.parametrize("attempt", [1, 3])
def test_an_attempt_that_is_not_the_running_one_changes_nothing(name: str, attempt: int) -> None:
    second = processing(SPEC, attempt=2).task
    check(second, replace(COMMANDS[name], attempt=attempt), RefusalReason.SUPERSEDED)  # type: ignore[arg-type]
