"""`taskcast webhooks`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from taskcast.v1 import admin_service_pb2 as pb
from tests.unit.scripted_gateway import TASK_ID, Refusal, ScriptedGateway
from tests.unit.scripted_thread import gateway_on_a_thread
from tests.unit.test_cli_commands import objects, taskcast

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    with gateway_on_a_thread() as gateway:
        yield gateway


def delivery(sequence: int, **fields: Any) -> pb.WebhookDelivery:
    told = pb.WebhookDelivery(
        id=f"{TASK_ID}-{sequence}-0", task_id=TASK_ID, sequence=sequence, url="https://a/", **fields
    )
    told.create_time.FromDatetime(datetime.now(UTC) - timedelta(minutes=2))
    return told


def test_deliveries_are_shown_in_a_table(gateway: ScriptedGateway) -> None:
    failed = delivery(
        2,
        state=pb.WEBHOOK_DELIVERY_STATE_FAILED,
        tries=9,
        last_status_code=500,
        last_error="The endpoint did not accept (HTTP 500).",
    )
    gateway.answers.append(pb.ListWebhookDeliveriesResponse(deliveries=[failed]))
    result = taskcast("webhooks", "list", "--url", "https://a/", "--state", "failed", server=gateway.address)
    assert result.exit_code == 0
    title, row = result.stdout.splitlines()
    assert title.split() == ["ID", "STATE", "TRIES", "HTTP", "AGE", "NEXT", "TRY", "URL", "TROUBLE"]
    assert row.split()[:4] == [f"{TASK_ID}-2-0", "FAILED", "9", "500"]
    assert row.rstrip().endswith("The endpoint did not accept (HTTP 500).")
    [request] = gateway.requests
    assert request.filter == pb.WebhookDeliveryFilter(url="https://a/", states=[pb.WEBHOOK_DELIVERY_STATE_FAILED])


def test_deliveries_are_printed_as_json_up_to_the_limit(gateway: ScriptedGateway) -> None:
    page = [delivery(sequence, state=pb.WEBHOOK_DELIVERY_STATE_DELIVERED) for sequence in (3, 2, 1)]
    gateway.answers.append(pb.ListWebhookDeliveriesResponse(deliveries=page))
    result = taskcast("webhooks", "list", "--task", TASK_ID, "--limit", "2", "--json", server=gateway.address)
    assert [each["sequence"] for each in objects(result)] == ["3", "2"]
    assert "There are more" in result.stderr
    assert gateway.requests[0].filter.task_id == TASK_ID


def test_no_deliveries_are_said_to_be_none(gateway: ScriptedGateway) -> None:
    gateway.answers.append(pb.ListWebhookDeliveriesResponse())
    result = taskcast("webhooks", "list", server=gateway.address)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "There are no such webhooks.\n")


def test_one_delivery_is_sent_again(gateway: ScriptedGateway) -> None:
    gateway.answers.append(pb.RedeliverWebhookResponse(count=1))
    result = taskcast("webhooks", "redeliver", f"{TASK_ID}-2-0", server=gateway.address)
    assert (result.exit_code, result.stdout) == (0, "1 webhook will be sent again.\n")
    assert gateway.requests[0].delivery_id == f"{TASK_ID}-2-0"


def test_what_was_given_up_for_an_endpoint_is_sent_again(gateway: ScriptedGateway) -> None:
    gateway.answers.append(pb.RedeliverWebhookResponse(count=12))
    result = taskcast("webhooks", "redeliver", "--url", "https://a/", "--since", "2h", server=gateway.address)
    assert (result.exit_code, result.stdout) == (0, "12 webhooks will be sent again.\n")
    failed = gateway.requests[0].failed
    assert failed.url == "https://a/"
    ago = datetime.now(UTC) - failed.since.ToDatetime(tzinfo=UTC)
    assert timedelta(hours=2) <= ago < timedelta(hours=2, minutes=2)


@pytest.mark.parametrize(
    "arguments", [(), ("an-id", "--url", "https://a/"), ("an-id", "--since", "2h")], ids=["nothing", "both", "since"]
)
def test_it_is_asked_what_to_send_again(gateway: ScriptedGateway, arguments: tuple[str, ...]) -> None:
    result = taskcast("webhooks", "redeliver", *arguments, server=gateway.address)
    assert result.exit_code == 2
    assert gateway.requests == []


def test_a_delivery_that_is_not_there_is_told_in_a_sentence(gateway: ScriptedGateway) -> None:
    gateway.answers.append(Refusal(grpc.StatusCode.NOT_FOUND, "There is no webhook delivery x.", "DELIVERY_NOT_FOUND"))
    result = taskcast("webhooks", "redeliver", "x", server=gateway.address)
    assert (result.exit_code, result.stderr) == (1, "Error: There is no webhook delivery x.\n")
