"""From request messages to the rules' values; what no rule could read is a violation here already."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf import struct_pb2

from gateway_service.faults import InvalidRequestError
from gateway_service.use_cases.submit_task import Submission
from shared.codec import from_duration, from_timestamp, retry_policy_from_proto
from shared.domain.submission import Violation
from shared.domain.task import RetryPolicy, TaskPriority, TaskSpec, TaskStatus, Webhook
from shared.json_values import NotJsonError, check_json
from taskcast.v1 import task_service_pb2

if TYPE_CHECKING:
    from google.protobuf import duration_pb2, timestamp_pb2
    from google.protobuf.message import Message

    from shared.domain.task import Millis
    from taskcast.v1 import task_pb2

NANOS = 1_000_000_000

SHORTEST_HEARTBEAT = 1.0
LONGEST_HEARTBEAT = 300.0
DEFAULT_HEARTBEAT = 15.0

# A submit and a retry share the request_ids of a tenant, and may have the same bytes.
_KINDS = {task_service_pb2.SubmitTaskRequest: b"submit", task_service_pb2.RetryTaskRequest: b"retry"}
_NO_POLICY = RetryPolicy()
_NULL = struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
_PRIORITIES = {priority.value for priority in TaskPriority}
_STATUSES = {status.value for status in TaskStatus}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionDefaults:
    """What stands in for what a submission does not say. `timeout` None: no limit."""

    retention: Millis
    timeout: Millis | None = None


class SubmissionReader:
    """Reads one SubmitTaskRequest, and collects what is wrong with it."""

    def __init__(self, request: task_service_pb2.SubmitTaskRequest, defaults: SubmissionDefaults) -> None:
        self._request = request
        self._defaults = defaults
        self._wrong: list[Violation] = []

    def spec(self) -> TaskSpec:
        """What is asked for, defaults filled in. Raises InvalidRequestError for what cannot be expressed."""
        request = self._request
        timeout = self._duration("timeout", request)
        retention = self._duration("retention", request)
        spec = TaskSpec(
            type=request.type,
            payload=self._payload(),
            labels=dict(request.labels),
            queue=request.queue or "default",
            priority=self._priority(),
            schedule_time=self._time("schedule_time", request.schedule_time),
            timeout=self._defaults.timeout if timeout is None else timeout,
            attempt_timeout=self._duration("attempt_timeout", request),
            estimated_duration=self._duration("estimated_duration", request),
            retry_policy=self._retry_policy(),
            webhooks=tuple(self._webhook(index, hook) for index, hook in enumerate(request.webhooks)),
            retention=self._defaults.retention if retention is None else retention,
        )
        if self._wrong:
            raise InvalidRequestError(self._wrong)
        return spec

    def _payload(self) -> bytes:
        payload = self._request.payload if self._request.HasField("payload") else _NULL
        if payload.WhichOneof("kind") is None:
            payload = _NULL
        try:
            check_json(payload, "payload")
        except NotJsonError as error:
            self._wrong.append(Violation("payload", f"is not JSON: {error}"))
        return payload.SerializeToString(deterministic=True)

    def _priority(self) -> TaskPriority:
        number = self._request.priority
        if number and number not in _PRIORITIES:
            self._wrong.append(Violation("priority", f"{number} is no TaskPriority"))
            return TaskPriority.NORMAL
        return TaskPriority(number or TaskPriority.NORMAL)

    def _retry_policy(self) -> RetryPolicy:
        if not self._request.HasField("retry_policy"):
            return _NO_POLICY
        policy = self._request.retry_policy
        self._duration("initial_backoff", policy, within="retry_policy.")
        self._duration("max_backoff", policy, within="retry_policy.")
        return retry_policy_from_proto(policy)

    def _webhook(self, index: int, hook: task_pb2.Webhook) -> Webhook:
        unknown = [status for status in hook.statuses if status not in _STATUSES]
        if unknown:
            self._wrong.append(Violation(f"webhooks[{index}].statuses", f"{unknown[0]} is no TaskStatus"))
        statuses = tuple(TaskStatus(status) for status in hook.statuses if status in _STATUSES)
        return Webhook(url=hook.url, statuses=statuses, headers=dict(hook.headers))

    def _duration(self, name: str, owner: Message, *, within: str = "") -> Millis | None:
        """The duration in the field `name` of `owner`, which stands `within` the request."""
        if not owner.HasField(name):
            return None
        duration: duration_pb2.Duration = getattr(owner, name)
        if abs(duration.nanos) >= NANOS or duration.seconds < 0 or duration.nanos < 0:
            self._wrong.append(
                Violation(within + name, "must be a duration of 0 or more, with nanos below 1,000,000,000")
            )
        return from_duration(duration)

    def _time(self, field: str, time: timestamp_pb2.Timestamp) -> Millis | None:
        if not self._request.HasField("schedule_time"):
            return None
        if not 0 <= time.nanos < NANOS:
            self._wrong.append(Violation(field, "must have nanos between 0 and 999,999,999"))
        return from_timestamp(time)


def read_submission(request: task_service_pb2.SubmitTaskRequest, defaults: SubmissionDefaults) -> Submission:
    """What a SubmitTaskRequest asks for. Raises InvalidRequestError for what cannot be expressed."""
    spec = SubmissionReader(request, defaults).spec()
    return Submission(spec, request.request_id, fingerprint(request) if request.request_id else b"")


def fingerprint(request: task_service_pb2.SubmitTaskRequest | task_service_pb2.RetryTaskRequest) -> bytes:
    """Identifies what a request with a request_id asks for: equal for equal requests of one kind."""
    body = request.SerializeToString(deterministic=True)
    return hashlib.blake2b(body, digest_size=16, person=_KINDS[type(request)]).digest()


def heartbeat_seconds(request: task_service_pb2.WatchTaskRequest | task_service_pb2.WatchTasksRequest) -> float:
    """The interval between heartbeats. Raises InvalidRequestError outside 1 second to 5 minutes."""
    if not request.HasField("heartbeat_interval"):
        return DEFAULT_HEARTBEAT
    interval = request.heartbeat_interval
    seconds = interval.seconds + interval.nanos / NANOS
    if not SHORTEST_HEARTBEAT <= seconds <= LONGEST_HEARTBEAT or not 0 <= interval.nanos < NANOS:
        raise InvalidRequestError([Violation("heartbeat_interval", "must be between 1 second and 5 minutes")])
    return seconds


def after_sequence(request: task_service_pb2.WatchTaskRequest) -> int | None:
    """The event to go on after, or None for a snapshot. Raises InvalidRequestError below 0."""
    if not request.HasField("after_sequence"):
        return None
    if request.after_sequence < 0:
        raise InvalidRequestError([Violation("after_sequence", "must be 0 or more")])
    return request.after_sequence
