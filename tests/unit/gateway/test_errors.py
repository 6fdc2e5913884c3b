"""The table of errors: what a client is told of each fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
import uuid_utils
from google.rpc import error_details_pb2

from gateway_service import faults
from gateway_service.rpc.errors import DOMAIN, MOST_IDS_NAMED, TABLE, to_status

if TYPE_CHECKING:
    from google.rpc import status_pb2

METHOD = "/taskcast.v1.TaskService/WatchTasks"
DEFAULT_METADATA_BYTES = 8 << 10


def _info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == DOMAIN
    return info


def test_every_fault_has_a_row() -> None:
    assert set(faults.Fault.__subclasses__()) <= set(TABLE)


@pytest.mark.parametrize(
    ("fault", "code", "reason", "metadata"),
    [
        (faults.TaskExpiredError("an id"), grpc.StatusCode.NOT_FOUND, "TASK_EXPIRED", {}),
        (
            faults.TasksNotFoundError(["one", "two"], asked=5),
            grpc.StatusCode.NOT_FOUND,
            "TASK_NOT_FOUND",
            {"task_ids": "one,two"},
        ),
        (
            faults.SequenceCompactedError(7, first=90, last=120),
            grpc.StatusCode.OUT_OF_RANGE,
            "SEQUENCE_COMPACTED",
            {"first_sequence": "90", "last_sequence": "120"},
        ),
        (faults.WatchBehindError(), grpc.StatusCode.ABORTED, "WATCH_BEHIND", {}),
    ],
)
def test_a_fault_of_watching_is_answered_with_what_the_client_needs(
    fault: faults.Fault, code: grpc.StatusCode, reason: str, metadata: dict[str, str]
) -> None:
    status = to_status(fault, METHOD)

    assert status.code == code.value[0]
    assert status.message == str(fault)
    info = _info(status)
    assert (info.reason, dict(info.metadata)) == (reason, metadata)


def test_an_answer_that_names_many_missing_tasks_still_fits_into_the_metadata_of_a_call() -> None:
    missing = [str(uuid_utils.uuid7()) for _ in range(1_000)]
    status = to_status(faults.TasksNotFoundError(missing, asked=1_000), METHOD)

    assert _info(status).metadata["task_ids"].split(",") == missing[:MOST_IDS_NAMED]
    assert "1000 of 1000" in status.message
    in_base64 = len(status.SerializeToString()) * 4 / 3
    assert in_base64 + len(status.message) < 0.75 * DEFAULT_METADATA_BYTES
