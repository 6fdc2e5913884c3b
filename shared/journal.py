"""The one path by which a task changes: read, decide, append, tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.codec import encode_broadcast, encode_news
from shared.domain.decide import Refusal, Rescheduled, decide
from shared.domain.evolve import evolve
from shared.domain.webhooks import deliveries_of
from shared.ports import Appended, Change, Conflict, StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.domain.commands import Command, ConfirmDispatch, PostponeDispatch
    from shared.domain.decide import RefusalReason
    from shared.domain.task import Task, TaskEvent
    from shared.domain.webhooks import StandingEndpoint
    from shared.ports import Clock, Record, StoreError

MOST_CONFLICTS = 32
"""How often one change may lose the race for a task. A task changes at most some tens of times a second."""


@dataclass(frozen=True, slots=True)
class Done:
    """The commands took effect: the task after them and the events they became."""

    task: Task
    events: tuple[TaskEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The commands changed nothing. `task` is as it is, without payload and result, or None if there is none.

    `fingerprint` is that of the submission which created the task, where the record was asked.
    """

    reason: RefusalReason
    task: Task | None
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True)
class Order:
    """One command on one task, as part of many.

    `known` is the task as the caller last saw it, None if it is taken not to exist yet; see `Journal.execute`.
    """

    task_id: str
    command: Command
    known: Task | None = None
    fingerprint: bytes = b""


class Journal:
    """Carries out commands on tasks: decides by the rules, appends to the record, broadcasts what happened."""

    def __init__(
        self,
        record: Record,
        clock: Clock,
        broadcast: Callable[[str, bytes], None],
        *,
        announce: Callable[[bytes], None] | None = None,
        standing: Sequence[StandingEndpoint] = (),
    ) -> None:
        """`broadcast` and `announce` are the broker's; `standing` are the service's own endpoints for webhooks."""
        self._record = record
        self._clock = clock
        self._broadcast = broadcast
        self._announce = announce
        self._standing = standing

    async def create(self, task_id: str, command: Command, *, fingerprint: bytes = b"") -> Done | Refused:
        """Carry out a submission, taking the task not to exist yet."""
        return await self._execute(task_id, None, (command,), fingerprint=fingerprint)

    async def execute(
        self, task_id: str, *commands: Command, known: Task | None = None, want_payload: bool = False
    ) -> Done | Refused:
        """Carry out all `commands` in one append, or none of them.

        `known` is the task as the caller last saw it and saves a read; where it is out of date, the rules
        decide again on the current one, a refusal included. With `want_payload` the returned task has its payload.
        Raises StoreUnavailableError, and then the outcome is unknown, or StoreFullError.
        """
        # What is terminal stays as it is: there a refusal cannot be out of date.
        current = known is None or known.status.is_terminal
        if known is None:
            known = await self._record.read(task_id, payload=False, result=False)
        return await self._execute(task_id, known, commands, current=current, want_payload=want_payload)

    async def execute_all(self, orders: Sequence[Order]) -> list[Done | Refused | StoreError]:
        """Carry out each order by itself, in one exchange with the record.

        In the place of an outcome stands what `execute` would have raised. The cost is a fraction of that of as many
        calls; a task that changed meanwhile costs a call of its own.
        """
        outcomes: list[Done | Refused | StoreError] = []
        changes: list[Change] = []
        for order in orders:
            verdict = self._decide(order.known, (order.command,))
            if isinstance(verdict, Refusal):
                outcomes.append(await self._execute_again(order))
                continue
            outcomes.append(verdict)
            changes.append(self._change(verdict, order.known, order.fingerprint))
        answers = iter(await self._record.append_all(changes))
        for index, (order, decided) in enumerate(zip(orders, outcomes, strict=True)):
            if not isinstance(decided, Done):
                continue
            answer = next(answers)
            if isinstance(answer, Conflict):
                outcomes[index] = await self._execute_again(order, answer)
            elif isinstance(answer, Appended):
                self._tell(decided)
            else:
                outcomes[index] = answer
        return outcomes

    async def retime_all(self, tasks: Sequence[Task], command: ConfirmDispatch | PostponeDispatch) -> None:
        """Carry out on many tasks, as they were last seen, a command that makes no event; see `Record.retime`.

        Raises StoreUnavailableError or StoreFullError.
        """
        now = self._clock.now()
        verdicts = [(task, decide(task, command, now)) for task in tasks]
        await self._record.retime([(task, v.timers) for task, v in verdicts if isinstance(v, Rescheduled)])

    async def _execute_again(self, order: Order, conflict: Conflict | None = None) -> Done | Refused | StoreError:
        """Decide an order once more, on the task as it is now."""
        try:
            if conflict is None:
                return await self.execute(order.task_id, order.command, known=order.known)
            return await self._execute(
                order.task_id,
                _with_payload_of(order.known, conflict.task),
                (order.command,),
                fingerprint=order.fingerprint,
                stored_fingerprint=conflict.fingerprint,
            )
        except (StoreUnavailableError, StoreFullError) as error:
            return error

    async def _execute(
        self,
        task_id: str,
        task: Task | None,
        commands: tuple[Command, ...],
        *,
        current: bool = True,
        fingerprint: bytes = b"",
        stored_fingerprint: bytes = b"",
        want_payload: bool = False,
    ) -> Done | Refused:
        for _ in range(MOST_CONFLICTS):
            outcome = self._decide(task, commands)
            if isinstance(outcome, Refusal):
                if current:
                    return Refused(outcome.reason, task, stored_fingerprint)
                task = _with_payload_of(task, await self._record.read(task_id, payload=False, result=False))
                current = True
                continue
            change = self._change(outcome, task, fingerprint, want_payload=want_payload)
            answer = await self._record.append(change)
            if not isinstance(answer, Conflict):
                self._tell(outcome)
                if answer.payload is not None:
                    changed = outcome.task
                    return Done(replace(changed, spec=replace(changed.spec, payload=answer.payload)), outcome.events)
                return outcome
            current = True
            stored_fingerprint = answer.fingerprint
            task = _with_payload_of(task, answer.task)
        raise StoreUnavailableError(f"task {task_id} changed {MOST_CONFLICTS} times while it was being changed")

    def _change(self, done: Done, before: Task | None, fingerprint: bytes, *, want_payload: bool = False) -> Change:
        return Change(
            task=done.task,
            events=done.events,
            expected_sequence=before.sequence if before else 0,
            fingerprint=fingerprint,
            want_payload=want_payload,
            deliveries=deliveries_of(done.task.spec, done.events, self._standing),
        )

    def _tell(self, done: Done) -> None:
        """Let those know who follow the task, and those who send webhooks."""
        for event in done.events:
            self._broadcast(*encode_broadcast(event))
        deliveries = deliveries_of(done.task.spec, done.events, self._standing)
        if deliveries and self._announce is not None:
            # An endpoint may be among them twice, for two events.
            endpoints = dict.fromkeys(endpoint for _, endpoint in deliveries)
            self._announce(encode_news(done.task.id, tuple(endpoints)))

    def _decide(self, task: Task | None, commands: tuple[Command, ...]) -> Done | Refusal:
        now = self._clock.now()
        events: list[TaskEvent] = []
        for command in commands:
            verdict = decide(task, command, now)
            if isinstance(verdict, Refusal):
                return verdict
            if isinstance(verdict, Rescheduled):
                # Only an existing task has timers to change, so `task` is one here.
                assert task is not None
                task = replace(task, timers=verdict.timers)
            else:
                events.append(verdict)
                task = evolve(task, verdict)
        if task is None:
            raise ValueError("a change needs at least one command")
        return Done(task, tuple(events))


def _with_payload_of(known: Task | None, current: Task | None) -> Task | None:
    """The current task with the payload that was known before: what was asked for never changes."""
    if known is None or current is None or known.spec.payload is None:
        return current
    return replace(current, spec=replace(current.spec, payload=known.spec.payload))
