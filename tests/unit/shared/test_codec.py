from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import codec
from shared.codec import BROADCAST_RESULT_BYTES, DISPATCH_PAYLOAD_BYTES
from shared.domain.submission import LONGEST_DURATION
from shared.domain.task import EventType, Task, TaskEvent, TaskProgress, TaskSpec, TaskStatus, Timers
from shared.json_values import encode_json
from taskcast.v1 import task_pb2
from tests.unit.domain.lives import START, TASK_ID, Life
from tests.unit.domain.strategies import events, lives, settled, tasks

law = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TASK = Task(
    id=TASK_ID, sequence=1, tenant="acme", spec=TaskSpec(type="report.render", payload=encode_json({"a": 1}, "payload"))
)
SUCCEEDED = TaskEvent(
    task_id=TASK_ID, sequence=3, type=EventType.SUCCEEDED, status=TaskStatus.SUCCESS, attempt=1, time=START
)


def value_of(encoded_bytes: int) -> bytes:
    """A JSON value whose encoding has exactly so many bytes."""
    for length in range(encoded_bytes - 16, encoded_bytes):
        for value in ("x" * length, ["x" * length]):
            if len(encoded := encode_json(value, "value")) == encoded_bytes:
                return encoded
    raise AssertionError(f"no value of ours takes {encoded_bytes} bytes")


# --- Times -------------------------------------------------------------------------------------------------------


@given(st.integers(0, START + 2 * LONGEST_DURATION))
def test_times_come_back_to_the_millisecond(time: int) -> None:
    assert codec.from_timestamp(codec.to_timestamp(time)) == time
    assert codec.from_duration(codec.to_duration(time)) == time


def test_a_time_is_rounded_down_and_a_duration_up() -> None:
    assert codec.from_timestamp(timestamp_pb2.Timestamp(seconds=1, nanos=999_999_999)) == 1_999
    assert codec.from_duration(duration_pb2.Duration(nanos=1)) == 1, "a limit of a nanosecond is not none"
    assert codec.from_duration(duration_pb2.Duration(seconds=1, nanos=1_000_001)) == 1_002
    assert codec.from_duration(duration_pb2.Duration(seconds=1, nanos=1_000_000)) == 1_001


# --- Tasks -------------------------------------------------------------------------------------------------------


@law
@given(tasks)
def test_a_task_comes_back_from_its_public_message_as_it_was(task: Task) -> None:
    message = codec.task_to_proto(task)
    assert codec.task_from_proto(message) == task
    assert codec.task_from_proto(task_pb2.Task.FromString(message.SerializeToString())) == task


@law
@given(lives)
def test_a_task_that_lived_comes_back_but_shows_the_terms_that_hold(life: Life) -> None:
    if life.task is None:
        return
    task = life.task
    expected = replace(task, spec=settled(task.spec, task.terms)) if task.terms else task
    assert codec.task_from_proto(codec.task_to_proto(task), task.timers) == expected


@law
@given(tasks, st.permutations(["asked", "life", "payload", "result"]))
def test_the_stored_pieces_joined_are_the_whole_task_in_whatever_order(task: Task, order: list[str]) -> None:
    pieces = {
        "asked": codec.encode_asked(task),
        "life": codec.encode_life(task),
        "payload": b"" if task.spec.payload is None else codec.encode_payload(task.spec.payload),
        "result": b"" if task.result is None else codec.encode_result(task.result),
    }
    timers = Timers(dispatch_at=1, dispatches=2, lease_expires=3)
    read = codec.decode_task([pieces[name] for name in order], timers)
    assert read == task
    assert read.timers == timers
    if task.spec.payload is not None:
        assert codec.decode_payload(pieces["payload"]) == task.spec.payload


@law
@given(tasks)
def test_neither_payload_nor_result_is_in_the_other_pieces(task: Task) -> None:
    read = codec.decode_task([codec.encode_asked(task), codec.encode_life(task)], Timers())
    assert (read.spec.payload, read.result) == (None, None)
    assert codec.task_from_proto(codec.task_to_proto(task, payload=False, result=False)) == read


def test_a_payload_of_null_is_not_the_same_as_none() -> None:
    null = encode_json(None, "payload")
    task = replace(TASK, spec=replace(TASK.spec, payload=null))
    assert codec.task_from_proto(codec.task_to_proto(task)).spec.payload == null
    assert codec.task_to_proto(task).payload.WhichOneof("kind") == "null_value"
    assert not codec.task_to_proto(replace(TASK, spec=replace(TASK.spec, payload=None))).HasField("payload")


def test_progress_of_nothing_yet_is_still_progress() -> None:
    task = replace(TASK, progress=TaskProgress())
    assert codec.task_to_proto(task).HasField("progress")
    assert codec.task_from_proto(codec.task_to_proto(task)).progress == TaskProgress()


@pytest.mark.parametrize("body", [b"\xff\xff", b"not a task"])
def test_what_is_no_message_at_all_is_a_decode_error(body: bytes) -> None:
    with pytest.raises(DecodeError):
        codec.decode_dispatch(body)
    with pytest.raises(DecodeError):
        codec.decode_event(body)


@pytest.mark.parametrize("body", [b"", task_pb2.Task(type="x").SerializeToString()])
def test_a_task_message_that_names_no_task_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="names no task"):
        codec.decode_dispatch(body)


def test_a_task_message_of_a_task_that_was_never_recorded_is_a_value_error() -> None:
    message = codec.task_to_proto(TASK)
    message.sequence = 0
    with pytest.raises(ValueError, match="nothing of what was recorded"):
        codec.decode_dispatch(message.SerializeToString())


def test_a_status_of_the_future_is_a_value_error() -> None:
    future = codec.task_to_proto(TASK)
    future.status = task_pb2.TaskStatus.ValueType(99)
    with pytest.raises(ValueError, match="99"):
        codec.decode_dispatch(future.SerializeToString())
    event = codec.event_to_proto(SUCCEEDED)
    event.type = task_pb2.TaskEvent.Type.ValueType(99)
    with pytest.raises(ValueError, match="99"):
        codec.decode_event(event.SerializeToString())


# --- Events ------------------------------------------------------------------------------------------------------


@law
@given(events)
def test_an_event_comes_back_from_its_public_message_as_it_was(event: TaskEvent) -> None:
    assert codec.event_from_proto(codec.event_to_proto(event)) == event


@law
@given(events)
def test_the_log_keeps_everything_of_an_event_but_its_result(event: TaskEvent) -> None:
    assert codec.decode_log_event(event.task_id, codec.encode_log_event(event)) == replace(event, result=None)


@law
@given(lives)
def test_what_the_record_holds_beside_the_log_stays_out_of_the_public_event(life: Life) -> None:
    for event in life.events:
        public = replace(event, result=None, tenant="", spec=None, retry_of="", terms=None, lease=0)
        assert codec.decode_log_event(event.task_id, codec.encode_log_event(event)) == public


@law
@given(events)
def test_a_broadcast_names_partition_task_and_event_in_its_key(event: TaskEvent) -> None:
    key, body = codec.encode_broadcast(event)
    assert key == f"{event.task_id[-2:]}.{event.task_id}.{event.type.name.lower()}"
    assert codec.decode_event(body) == event


@pytest.mark.parametrize(
    ("type_", "word"), [(EventType.SUBMITTED, "submitted"), (EventType.RETRY_SCHEDULED, "retry_scheduled")]
)
def test_the_last_word_of_a_key_is_the_type_in_lower_case(type_: EventType, word: str) -> None:
    assert codec.encode_broadcast(replace(SUCCEEDED, type=type_))[0] == f"5e.{TASK_ID}.{word}"


@pytest.mark.parametrize(("size", "is_sent"), [(BROADCAST_RESULT_BYTES, True), (BROADCAST_RESULT_BYTES + 1, False)])
def test_a_broadcast_carries_a_result_up_to_16_kib(size: int, is_sent: bool) -> None:
    assert BROADCAST_RESULT_BYTES == 16 * 1_024
    event = replace(SUCCEEDED, result=value_of(size))
    sent = codec.decode_event(codec.encode_broadcast(event)[1])
    assert sent == (event if is_sent else replace(event, result=None))


# --- Dispatch ----------------------------------------------------------------------------------------------------


@law
@given(tasks)
def test_a_task_message_carries_the_task_without_its_result(task: Task) -> None:
    assert codec.decode_dispatch(codec.encode_dispatch(task)) == replace(task, result=None)


@pytest.mark.parametrize(("size", "is_sent"), [(DISPATCH_PAYLOAD_BYTES, True), (DISPATCH_PAYLOAD_BYTES + 1, False)])
def test_a_task_message_carries_a_payload_up_to_64_kib(size: int, is_sent: bool) -> None:
    assert DISPATCH_PAYLOAD_BYTES == 64 * 1_024
    task = replace(TASK, spec=replace(TASK.spec, payload=value_of(size)))
    sent = codec.decode_dispatch(codec.encode_dispatch(task))
    assert sent.spec.payload == (task.spec.payload if is_sent else None)
    assert replace(sent, spec=task.spec) == task


def test_a_result_of_a_megabyte_is_stored_as_it_is() -> None:
    result = value_of(1 << 20)
    piece = codec.encode_result(result)
    assert codec.decode_task([codec.encode_asked(TASK), codec.encode_life(TASK), piece], Timers()).result == result
