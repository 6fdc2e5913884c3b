"""Tasks with a past: made by the rules themselves, one command after another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shared.domain.commands import Cancel, Claim, Fail, Submit, Succeed, Wake
from shared.domain.decide import Refusal, Rescheduled, decide
from shared.domain.evolve import evolve
from shared.domain.task import AttemptTerms, Task, TaskError, TaskEvent, TaskSpec, TaskStatus
from shared.json_values import encode_json

if TYPE_CHECKING:
    from shared.domain.commands import Command
    from shared.domain.decide import Verdict
    from shared.domain.task import Millis

TASK_ID = "0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e"
START: Millis = 1_700_000_000_000
LEASE: Millis = 10_000
RESULT = encode_json("rendered", "result")
ERROR = TaskError(code="BROKEN", message="It broke.")


def submit(spec: TaskSpec) -> Submit:
    return Submit(task_id=TASK_ID, tenant="acme", spec=spec)


def claim(*, worker: str = "worker-1", terms: AttemptTerms | None = None) -> Claim:
    return Claim(worker=worker, terms=terms or AttemptTerms(), lease=LEASE)


@dataclass(frozen=True)
class Step:
    """One command: what was before, what the rules said at `now`, and what is after."""

    before: Task | None
    command: Command
    now: Millis
    verdict: Verdict
    after: Task | None


@dataclass
class Life:
    """A task and all that was ever asked of it."""

    spec: TaskSpec
    now: Millis = START
    task: Task | None = None
    steps: list[Step] = field(default_factory=list)

    @property
    def events(self) -> list[TaskEvent]:
        return [step.verdict for step in self.steps if isinstance(step.verdict, TaskEvent)]

    def ask(self, command: Command, *, after: Millis = 0) -> Verdict:
        """Carry out a command, `after` so many milliseconds."""
        self.now += after
        before = self.task
        verdict = decide(before, command, self.now)
        if isinstance(verdict, TaskEvent):
            self.task = evolve(before, verdict)
        elif isinstance(verdict, Rescheduled):
            assert before is not None
            self.task = replace(before, timers=verdict.timers)
        self.steps.append(Step(before, command, self.now, verdict, self.task))
        return verdict

    def asked(self, *commands: Command, after: Millis = 0) -> Task:
        """Carry out commands that must not be refused; the task after them."""
        for command in commands:
            verdict = self.ask(command, after=after)
            assert not isinstance(verdict, Refusal), f"{command} was refused: {verdict.reason.value}"
        assert self.task is not None
        return self.task


def waiting(spec: TaskSpec) -> Life:
    life = Life(spec)
    life.asked(submit(spec))
    return life


def processing(spec: TaskSpec, *, attempt: int = 1) -> Life:
    """A task whose attempt number `attempt` runs, each one before it having lost its lease."""
    life = waiting(spec)
    life.asked(claim())
    while life.task is not None and life.task.attempt < attempt:
        life.asked(Wake(), after=LEASE)
        life.asked(claim())
    return life


def ended(spec: TaskSpec, status: TaskStatus) -> Life:
    """A task that has reached the terminal `status`."""
    spec = replace(spec, timeout=60_000)
    life = processing(spec)
    match status:
        case TaskStatus.SUCCESS:
            life.asked(Succeed(attempt=1, result=RESULT))
        case TaskStatus.FAILED:
            life.asked(Fail(attempt=1, error=ERROR))
        case TaskStatus.ERROR:
            life = processing(replace(spec, timeout=None, retry_policy=replace(spec.retry_policy, max_attempts=1)))
            life.asked(Wake(), after=LEASE)
        case TaskStatus.CANCELLED:
            life.asked(Cancel())
        case _:
            life.asked(Wake(), after=60_000)
    assert life.task is not None
    assert life.task.status is status
    return life
