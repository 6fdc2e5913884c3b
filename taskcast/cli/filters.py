"""Which tasks are meant, as people write it."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from taskcast.cli.arguments import parse_duration, parse_labels
from taskcast.client.fields import to_timestamp
from taskcast.v1 import task_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence


class Status(enum.StrEnum):
    """Where a task stands."""

    WAITING = "waiting"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"
    ERROR = "error"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"

    @property
    def value_in_proto(self) -> task_pb2.TaskStatus.ValueType:
        """The value of the contract."""
        return task_pb2.TaskStatus.Value(f"TASK_STATUS_{self.name}")


def parse_moment(text: str) -> datetime:
    """A time like `2026-11-27T09:30`, or how long ago it was, like `2h`. Without a zone it is this machine's."""
    if text[:1].isdigit() and text[-1:].isalpha() and "T" not in text:
        try:
            return datetime.now(UTC) - parse_duration(text)
        except OverflowError:
            raise typer.BadParameter(f"{text!r} ago there were no tasks.") from None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone() if moment.tzinfo is None else moment
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time: write one like 2026-11-27 or 2026-11-27T09:30, or how long ago, like 30m or 2h."
        ) from None


def make_filter(
    *,
    statuses: Sequence[Status] = (),
    type_: str = "",
    queue: str = "",
    labels: Sequence[str] = (),
    since: datetime | None = None,
    before: datetime | None = None,
) -> task_service_pb2.TaskFilter:
    """The filter that the options of `taskcast list` say."""
    return task_service_pb2.TaskFilter(
        statuses=[status.value_in_proto for status in statuses],
        type=type_,
        queue=queue,
        labels=parse_labels(labels),
        create_time_after=None if since is None else to_timestamp(since, "--since"),
        create_time_before=None if before is None else to_timestamp(before, "--before"),
    )


def parse_filter(pairs: Sequence[str]) -> task_service_pb2.TaskFilter:
    """The filter that `key=value` pairs say: status, type, queue, and label.KEY."""
    statuses: list[Status] = []
    words = {"type": "", "queue": ""}
    labels: list[str] = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is no filter: write key=value.", param_hint="--filter")
        if key == "status":
            statuses += _statuses(value)
        elif key in words:
            if words[key]:
                raise typer.BadParameter(f"{key!r} is given twice.", param_hint="--filter")
            words[key] = value
        elif key.startswith("label."):
            labels.append(f"{key.removeprefix('label.')}={value}")
        else:
            raise typer.BadParameter(
                f"There is no filter {key!r}: write status=, type=, queue= or label.KEY=.", param_hint="--filter"
            )
    return make_filter(statuses=statuses, type_=words["type"], queue=words["queue"], labels=labels)


def _statuses(names: str) -> list[Status]:
    try:
        return [Status(name.strip().lower()) for name in names.split(",")]
    except ValueError as error:
        known = ", ".join(Status)
        raise typer.BadParameter(f"{error}: a status is one of {known}.", param_hint="--filter") from None
