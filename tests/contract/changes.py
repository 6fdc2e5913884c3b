"""Changes as the rules make them, for tests of what a record does with them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.domain.commands import Claim, ReportProgress, Submit
from shared.domain.decide import Refusal, Rescheduled, decide
from shared.domain.evolve import evolve
from shared.domain.task import AttemptTerms, Task, TaskProgress, TaskSpec
from shared.json_values import encode_json
from shared.ports import Appended, Change
from tests.unit.domain.strategies import settled

if TYPE_CHECKING:
    from shared.domain.commands import Command
    from shared.domain.task import Millis, TaskEvent
    from shared.ports import Record

NOW: Millis = 1_700_000_000_000
LEASE: Millis = 10_000
PAYLOAD = encode_json({"pages": 10}, "payload")
RESULT = encode_json({"rendered": 10}, "result")
SPEC = TaskSpec(type="report.render", payload=PAYLOAD, labels={"customer": "acme"})
CLAIM = Claim(worker="worker-1", terms=AttemptTerms(), lease=LEASE)


def new_task_id(partition: str = "") -> str:
    """A task id of its own, in the given partition."""
    return str(uuid.uuid4())[: 36 - len(partition)] + partition


def progress(percent: float, *, attempt: int = 1) -> ReportProgress:
    return ReportProgress(attempt=attempt, progress=TaskProgress(percent=percent), lease=LEASE)


def change(
    task: Task | None,
    *commands: Command,
    now: Millis = NOW,
    fingerprint: bytes = b"",
    want_payload: bool = False,
) -> Change:
    """What `commands`, none of which may be refused, make of `task`."""
    expected = task.sequence if task else 0
    events: list[TaskEvent] = []
    for command in commands:
        verdict = decide(task, command, now)
        assert not isinstance(verdict, Refusal)
        if isinstance(verdict, Rescheduled):
            assert task is not None
            task = replace(task, timers=verdict.timers)
        else:
            events.append(verdict)
            task = evolve(task, verdict)
    assert task is not None
    return Change(
        task=task,
        events=tuple(events),
        expected_sequence=expected,
        fingerprint=fingerprint,
        want_payload=want_payload,
    )


def submission(
    task_id: str | None = None, *, spec: TaskSpec = SPEC, now: Millis = NOW, fingerprint: bytes = b""
) -> Change:
    """The creation of a task."""
    command = Submit(task_id=task_id or new_task_id(), tenant="acme", spec=spec)
    return change(None, command, now=now, fingerprint=fingerprint)


def without_values(task: Task) -> Task:
    """The task as it is told where nobody asked for payload and result."""
    return replace(task, spec=replace(task.spec, payload=None), result=None)


async def appended(record: Record, what: Change) -> Task:
    """Append what cannot be refused; the task after it."""
    assert await record.append(what) == Appended()
    return what.task


async def claimed(record: Record) -> Task:
    """A new task whose first attempt runs."""
    return await appended(record, change(await appended(record, submission()), CLAIM))


def shown(task: Task) -> Task:
    """The task as the record gives it back: from the first attempt on it shows the terms that hold."""
    return replace(task, spec=settled(task.spec, task.terms)) if task.terms else task
