"""Between a task and the public `Task` message."""

from __future__ import annotations

from shared.codec.fields import (
    encoded_value,
    error_from_proto,
    from_duration,
    from_timestamp,
    optional_time,
    progress_from_proto,
    put_duration,
    put_error,
    put_progress,
    put_time,
)
from shared.domain.task import (
    Attempt,
    AttemptTerms,
    RetryPolicy,
    Task,
    TaskPriority,
    TaskSpec,
    TaskStatus,
    Timers,
    Webhook,
)
from taskcast.v1 import task_pb2

_NO_TIMERS = Timers()


def task_to_proto(task: Task, *, payload: bool = True, result: bool = True) -> task_pb2.Task:
    """The public message of a task, with payload and result as far as the task has them and they are wanted."""
    message = task_pb2.Task()
    put_asked(task, message)
    put_life(task, message)
    if payload and task.spec.payload is not None:
        message.payload.MergeFromString(task.spec.payload)
    if result and task.result is not None:
        message.result.MergeFromString(task.result)
    return message


def task_from_proto(message: task_pb2.Task, timers: Timers = _NO_TIMERS) -> Task:
    """The task that a message of `task_to_proto` describes; `timers` are not part of the message."""
    spec = spec_from_proto(message)
    return Task(
        id=message.id,
        tenant=message.tenant,
        spec=spec,
        retry_of=message.retry_of,
        status=TaskStatus(message.status),
        sequence=message.sequence,
        attempt=message.attempt,
        attempts=tuple(_attempt_from_proto(attempt) for attempt in message.attempts),
        terms=_terms_from_spec(spec) if message.attempt else None,
        progress=progress_from_proto(message.progress) if message.HasField("progress") else None,
        result=encoded_value(message.result) if message.HasField("result") else None,
        error=error_from_proto(message.error) if message.HasField("error") else None,
        cancel_reason=message.cancel_reason,
        create_time=from_timestamp(message.create_time),
        update_time=from_timestamp(message.update_time),
        start_time=optional_time(message, "start_time"),
        end_time=optional_time(message, "end_time"),
        next_attempt_time=optional_time(message, "next_attempt_time"),
        expire_time=optional_time(message, "expire_time"),
        timers=timers,
    )


def spec_from_proto(message: task_pb2.Task) -> TaskSpec:
    """What was asked for, out of a Task message; the payload is None if the message has none."""
    policy = message.retry_policy
    return TaskSpec(
        type=message.type,
        payload=encoded_value(message.payload) if message.HasField("payload") else None,
        labels=dict(message.labels),
        queue=message.queue,
        priority=TaskPriority(message.priority),
        schedule_time=optional_time(message, "schedule_time"),
        timeout=from_duration(message.timeout) if message.HasField("timeout") else None,
        attempt_timeout=from_duration(message.attempt_timeout) if message.HasField("attempt_timeout") else None,
        estimated_duration=(
            from_duration(message.estimated_duration) if message.HasField("estimated_duration") else None
        ),
        retry_policy=retry_policy_from_proto(policy),
        webhooks=tuple(
            Webhook(
                url=hook.url,
                statuses=tuple(TaskStatus(status) for status in hook.statuses),
                headers=dict(hook.headers),
            )
            for hook in message.webhooks
        ),
        retention=from_duration(message.retention),
    )


def retry_policy_from_proto(policy: task_pb2.RetryPolicy) -> RetryPolicy:
    """A RetryPolicy message, an unset field as None."""
    return RetryPolicy(
        max_attempts=policy.max_attempts or None,
        initial_backoff=from_duration(policy.initial_backoff) if policy.HasField("initial_backoff") else None,
        max_backoff=from_duration(policy.max_backoff) if policy.HasField("max_backoff") else None,
        backoff_multiplier=policy.backoff_multiplier or None,
        jitter=policy.jitter if policy.HasField("jitter") else None,
    )


def put_asked(task: Task, message: task_pb2.Task) -> None:
    """Set the fields that never change once the task exists."""
    spec = task.spec
    message.id = task.id
    message.tenant = task.tenant
    message.type = spec.type
    message.queue = spec.queue
    message.priority = task_pb2.TaskPriority.ValueType(spec.priority)
    message.retry_of = task.retry_of
    if spec.labels:
        message.labels.update(spec.labels)
    put_duration(spec.retention, message.retention)
    put_time(task.create_time, message.create_time)
    if spec.schedule_time is not None:
        put_time(spec.schedule_time, message.schedule_time)
    if spec.timeout is not None:
        put_duration(spec.timeout, message.timeout)
    if spec.estimated_duration is not None:
        put_duration(spec.estimated_duration, message.estimated_duration)
    for hook in spec.webhooks:
        message.webhooks.add(
            url=hook.url,
            statuses=[task_pb2.TaskStatus.ValueType(status) for status in hook.statuses],
            headers=dict(hook.headers),
        )


def put_life(task: Task, message: task_pb2.Task) -> None:
    """Set the fields that change. The terms of an attempt, once settled, stand in for what was asked."""
    _put_terms(task, message)
    message.status = task_pb2.TaskStatus.ValueType(task.status)
    message.sequence = task.sequence
    message.attempt = task.attempt
    message.cancel_reason = task.cancel_reason
    put_time(task.update_time, message.update_time)
    if task.progress is not None:
        put_progress(task.progress, message.progress)
    if task.error is not None:
        put_error(task.error, message.error)
    if task.start_time is not None:
        put_time(task.start_time, message.start_time)
    if task.end_time is not None:
        put_time(task.end_time, message.end_time)
    if task.next_attempt_time is not None:
        put_time(task.next_attempt_time, message.next_attempt_time)
    if task.expire_time is not None:
        put_time(task.expire_time, message.expire_time)
    for attempt in task.attempts:
        _put_attempt(attempt, message.attempts.add())


def _put_terms(task: Task, message: task_pb2.Task) -> None:
    asked = task.spec.retry_policy
    policy = message.retry_policy
    if task.terms is not None:
        policy.max_attempts = task.terms.max_attempts
        put_duration(task.terms.initial_backoff, policy.initial_backoff)
        put_duration(task.terms.max_backoff, policy.max_backoff)
        policy.backoff_multiplier = task.terms.backoff_multiplier
        policy.jitter = task.terms.jitter
        put_duration(task.terms.attempt_timeout, message.attempt_timeout)
        return
    if asked.max_attempts is not None:
        policy.max_attempts = asked.max_attempts
    if asked.initial_backoff is not None:
        put_duration(asked.initial_backoff, policy.initial_backoff)
    if asked.max_backoff is not None:
        put_duration(asked.max_backoff, policy.max_backoff)
    if asked.backoff_multiplier is not None:
        policy.backoff_multiplier = asked.backoff_multiplier
    if asked.jitter is not None:
        policy.jitter = asked.jitter
    if task.spec.attempt_timeout is not None:
        put_duration(task.spec.attempt_timeout, message.attempt_timeout)


def _terms_from_spec(spec: TaskSpec) -> AttemptTerms:
    """The terms that `_put_terms` wrote. Only max_attempts and the multiplier are never zero."""
    policy = spec.retry_policy
    return AttemptTerms(
        max_attempts=policy.max_attempts or 1,
        initial_backoff=policy.initial_backoff or 0,
        max_backoff=policy.max_backoff or 0,
        backoff_multiplier=policy.backoff_multiplier or 1.0,
        jitter=policy.jitter or 0.0,
        attempt_timeout=spec.attempt_timeout or 0,
    )


def _put_attempt(attempt: Attempt, message: task_pb2.Attempt) -> None:
    message.number = attempt.number
    message.worker = attempt.worker
    put_time(attempt.start_time, message.start_time)
    if attempt.end_time is not None:
        put_time(attempt.end_time, message.end_time)
    if attempt.outcome is not None:
        message.outcome = task_pb2.TaskStatus.ValueType(attempt.outcome)
    if attempt.error is not None:
        put_error(attempt.error, message.error)


def _attempt_from_proto(message: task_pb2.Attempt) -> Attempt:
    return Attempt(
        number=message.number,
        worker=message.worker,
        start_time=from_timestamp(message.start_time),
        end_time=optional_time(message, "end_time"),
        outcome=TaskStatus(message.outcome) if message.outcome else None,
        error=error_from_proto(message.error) if message.HasField("error") else None,
    )
