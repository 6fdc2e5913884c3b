from __future__ import annotations

import json

import pytest
from standardwebhooks import Webhook as Receiver
from standardwebhooks import WebhookVerificationError

from shared.domain.task import EventType, TaskError, TaskEvent, TaskStatus, Webhook
from shared.json_values import encode_json
from tests.endpoints import NEW_SECRET, SECRET
from tests.stack import record_time
from worker_service.webhooks.message import MOST_RESULT_BYTES, body_of, signed

TASK_ID = "0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e"
HOOK = Webhook(url="https://example.org/hook", headers={"X-Key": "k"})


def ended(result: object) -> TaskEvent:
    return TaskEvent(
        task_id=TASK_ID,
        sequence=4,
        type=EventType.SUCCEEDED,
        status=TaskStatus.SUCCESS,
        attempt=1,
        time=1_700_000_000_123,
        result=encode_json(result, "result"),
    )


def test_the_body_is_the_event_in_the_standard_envelope() -> None:
    assert json.loads(body_of(ended({"pages": 10, "title": "Übersicht"}))) == {
        "type": "task.success",
        "timestamp": "2023-11-14T22:13:20.123Z",
        "data": {
            "taskId": TASK_ID,
            "sequence": "4",
            "type": "TYPE_SUCCEEDED",
            "status": "TASK_STATUS_SUCCESS",
            "attempt": 1,
            "time": "2023-11-14T22:13:20.123Z",
            "result": {"pages": 10, "title": "Übersicht"},
        },
    }


def test_what_went_wrong_is_part_of_it() -> None:
    event = TaskEvent(
        task_id=TASK_ID,
        sequence=3,
        type=EventType.RETRY_SCHEDULED,
        status=TaskStatus.WAITING,
        attempt=1,
        time=1_700_000_000_000,
        error=TaskError(code="BROKEN", message="It broke."),
        next_attempt_time=1_700_000_005_000,
    )
    body = json.loads(body_of(event))
    assert body["type"] == "task.waiting"
    assert body["data"]["error"] == {"code": "BROKEN", "message": "It broke."}
    assert body["data"]["nextAttemptTime"] == "2023-11-14T22:13:25Z"


def test_a_large_result_is_left_out_with_a_note() -> None:
    fits, large = ended("x" * (MOST_RESULT_BYTES - 4)), ended("x" * (MOST_RESULT_BYTES + 1))
    assert "result" in json.loads(body_of(fits))["data"]
    body = json.loads(body_of(large))
    assert "result" not in body["data"]
    assert "GetTask" in body["note"]


def test_either_secret_verifies_during_a_rotation_and_no_other() -> None:
    message = signed(HOOK, f"{TASK_ID}-4-0", body_of(ended(1)), (NEW_SECRET, SECRET), int(record_time() * 1_000))
    headers = dict(message.headers)
    for secret in (SECRET, NEW_SECRET):
        assert Receiver(secret).verify(message.body, headers)["type"] == "task.success"
    with pytest.raises(WebhookVerificationError):
        Receiver("whsec_" + "A" * 32).verify(message.body, headers)
    with pytest.raises(WebhookVerificationError):
        Receiver(SECRET).verify(message.body + b" ", headers)


def test_each_try_has_its_own_time_and_the_same_id() -> None:
    first, second = (signed(HOOK, "id-1", b"{}", (SECRET,), now).headers for now in (1_000, 62_000))
    assert first["webhook-id"] == second["webhook-id"] == "id-1"
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("1", "62")
    assert first["webhook-signature"] != second["webhook-signature"]
    assert first["X-Key"] == "k"
