"""Which tasks somebody wants to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.domain.submission import Violation, label_violations, name_violations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.domain.submission import Limits
    from shared.domain.task import Millis, Task, TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Conditions that a task must all meet; an empty one is met by every task.

    `statuses` are those it may have, `labels` some that it has, with these values. `created_after` is the first
    time at which it may have been recorded, `created_before` the first at which it may no longer.
    """

    statuses: frozenset[TaskStatus] = frozenset()
    type: str = ""
    queue: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: Millis | None = None
    created_before: Millis | None = None

    def matches(self, task: Task) -> bool:
        """Whether the task meets every condition."""
        spec = task.spec
        return (
            (not self.statuses or task.status in self.statuses)
            and self.type in ("", spec.type)
            and self.queue in ("", spec.queue)
            and (self.created_after is None or self.created_after <= task.create_time)
            and (self.created_before is None or task.create_time < self.created_before)
            and all(spec.labels.get(key) == value for key, value in self.labels.items())
        )


def violations(wanted: TaskFilter, limits: Limits) -> Iterator[Violation]:
    """What is wrong with a filter: what no task can have. Paths begin with `filter`."""
    if wanted.type:
        yield from name_violations("filter.type", wanted.type, limits.type_length)
    if wanted.queue:
        yield from name_violations("filter.queue", wanted.queue, limits.queue_length)
    yield from label_violations(wanted.labels, limits, "filter.labels")
    after, before = wanted.created_after, wanted.created_before
    if after is not None and before is not None and after >= before:
        yield Violation("filter.create_time_before", "must be later than create_time_after")
