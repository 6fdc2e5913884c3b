"""The HTTP interface answers as its own description says, whatever it is asked."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from gateway_service.http.openapi.document import build_document
from shared.domain.submission import Limits
from tests.http_client import HttpClient
from tests.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

DOCUMENT = build_document(Limits())
ENDLESS = "watchTasks"
"""A stream that matches has no end to check."""

MORE_THAN_A_SCHEMA_SAYS = [positive_data_acceptance, negative_data_rejection]
"""proto3 JSON takes null for a default and numbers as text; rules on time and on two fields at once no schema has."""

SHORT = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))


def _tightened() -> dict[str, Any]:
    """The document, with every message closed: an answer may have no field that is not described."""
    document = copy.deepcopy(DOCUMENT)
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return document


API = schemathesis.openapi.from_dict(_tightened()).exclude(operation_id=ENDLESS)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, redis_url: str, rabbitmq_url: str) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("contract"), redis_url=redis_url, rabbitmq_url=rabbitmq_url) as stack:
        yield stack.start(gateways=1, workers=1)


@pytest.fixture(autouse=True)
def _nothing_goes_wrong_inside(stack: Stack) -> Iterator[None]:
    yield
    assert not stack.gateways[0].log_lines("rpc.failed")


def test_the_document_that_is_served_is_the_one_that_is_tested(stack: Stack) -> None:
    assert HttpClient(stack.gateways[0].http_address).get("/openapi.json").json == DOCUMENT


@API.parametrize()
@SHORT
def test_every_answer_is_as_described(case: Any, stack: Stack) -> None:
    _check(case, stack)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@API.parametrize()
@LONG
def test_every_answer_is_as_described_for_long(case: Any, stack: Stack) -> None:
    _check(case, stack)


@given(case=API["/tasks"]["POST"].as_strategy())
@settings(SHORT, max_examples=15)
def test_what_is_said_of_a_task_that_is_there_is_as_described(case: Any, stack: Stack) -> None:
    submitted = _check(case, stack)
    assume(submitted.status_code == 202)
    task_id = submitted.json()["task"]["id"]
    seen = []
    for verb, path in (("POST", "cancel"), ("GET", ""), ("POST", "retry"), ("GET", "stream")):
        operation = API[f"/tasks/{{task_id}}/{path}".rstrip("/")][verb]
        answer = _check(operation.Case(path_parameters={"task_id": task_id}), stack)
        seen.append(answer.status_code)
    # A task may have ended before it could be cancelled, and then it may have succeeded.
    assert seen[0] in (200, 400)
    assert seen[1] == 200
    assert seen[2] in (202, 400)
    assert seen[3] == 200


def _check(case: Any, stack: Stack) -> Any:
    return case.call_and_validate(base_url=stack.gateways[0].http, timeout=10, excluded_checks=MORE_THAN_A_SCHEMA_SAYS)
