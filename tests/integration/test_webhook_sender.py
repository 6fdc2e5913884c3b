"""One try of a webhook against endpoints of every kind."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from shared.domain.addresses import Reach
from shared.domain.task import EventType, TaskEvent, TaskStatus, Webhook
from shared.domain.webhooks import Answer, Failure
from tests.endpoints import (
    LOOPBACK,
    SECRET,
    Endpoints,
    answering,
    breaking,
    endless,
    hanging,
    slow,
)
from worker_service.webhooks.message import Message, body_of, signed
from worker_service.webhooks.sender import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.endpoints import Script

pytestmark = pytest.mark.integration

NOW = 1_700_000_000_000
EVENT = TaskEvent(
    task_id="0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e",
    sequence=1,
    type=EventType.SUBMITTED,
    status=TaskStatus.WAITING,
    attempt=0,
    time=NOW,
)


def message(url: str) -> Message:
    return signed(Webhook(url=url, headers={"X-Key": "k"}), "id-1", body_of(EVENT), (SECRET,), NOW)


def sender(reach: Reach = LOOPBACK, *, timeout: float = 0.5) -> Sender:
    return Sender(reach, timeout=timeout, connections=16, connections_per_host=4)


@pytest.fixture
async def endpoints() -> AsyncIterator[Endpoints]:
    async with Endpoints() as endpoints:
        yield endpoints


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        pytest.param(answering(200), Answer(status=200), id="200"),
        pytest.param(answering(204), Answer(status=204), id="204"),
        pytest.param(slow(0.1), Answer(status=200), id="slow"),
        pytest.param(endless, Answer(status=200), id="an endless answer"),
        pytest.param(hanging, Answer(failure=Failure.TIMEOUT), id="hanging"),
        pytest.param(breaking, Answer(failure=Failure.BAD_ANSWER), id="a reset in the middle"),
        pytest.param(answering(500), Answer(status=500, failure=Failure.STATUS), id="500"),
        pytest.param(
            answering(429, retry_after="7"), Answer(status=429, failure=Failure.STATUS, retry_after=7_000), id="429"
        ),
        pytest.param(answering(503, retry_after="soon"), Answer(status=503, failure=Failure.STATUS), id="503"),
        pytest.param(answering(410), Answer(status=410, failure=Failure.GONE), id="410"),
        pytest.param(
            answering(302, location="http://127.0.0.1:1/"), Answer(status=302, failure=Failure.REDIRECT), id="302"
        ),
    ],
)
async def test_what_an_endpoint_does_becomes_an_answer(endpoints: Endpoints, script: Script, answer: Answer) -> None:
    endpoint = await endpoints.start(script)
    async with sender() as sending:
        assert await sending.send(message(endpoint.url), NOW) == answer
    assert len(endpoint.received) == 1


async def test_a_date_to_retry_after_is_counted_from_now(endpoints: Endpoints) -> None:
    later = format_datetime(_at(NOW // 1_000 + 90), usegmt=True)
    endpoint = await endpoints.start(answering(503, retry_after=later))
    async with sender() as sending:
        answer = await sending.send(message(endpoint.url), NOW)
    assert answer.retry_after == 90_000


async def test_the_request_is_what_was_signed_and_nothing_else(endpoints: Endpoints) -> None:
    endpoint = await endpoints.start(answering(200))
    sent = message(endpoint.url)
    async with sender() as sending:
        await sending.send(sent, NOW)
    [received] = endpoint.received
    assert received.body == sent.body
    assert {name: value for name, value in received.headers.items() if name not in {"host", "content-length"}} == {
        name.lower(): value for name, value in sent.headers.items()
    }


async def test_a_connection_is_used_again_and_not_beyond_an_answer_that_was_cut_off(endpoints: Endpoints) -> None:
    short, long = await endpoints.start(answering(200)), await endpoints.start(endless)
    async with sender() as sending:
        for _ in range(3):
            await sending.send(message(short.url), NOW)
            await sending.send(message(long.url), NOW)
    assert (len(short.open_connections), len(long.open_connections)) == (1, 3)


async def test_nobody_there_is_a_failed_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound and not listening: nobody answers, and nobody else can have the port.
        async with sender() as sending:
            answer = await sending.send(message(f"http://127.0.0.1:{taken.getsockname()[1]}/"), NOW)
    assert answer == Answer(failure=Failure.CONNECTION)


async def test_plain_text_where_tls_was_expected_is_told_as_such(endpoints: Endpoints) -> None:
    endpoint = await endpoints.start(answering(200))
    async with sender() as sending:
        answer = await sending.send(message(endpoint.url.replace("http:", "https:")), NOW)
    assert answer == Answer(failure=Failure.TLS)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",  # noqa: S104  # An address to be refused.
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
    ],
)
async def test_a_private_address_is_not_connected_to_under_any_name(endpoints: Endpoints, host: str) -> None:
    endpoint = await endpoints.start(answering(200))
    async with sender(Reach()) as sending:
        answer = await sending.send(message(f"http://{host}:{endpoint.port}/"), NOW)
    assert answer == Answer(failure=Failure.ADDRESS)
    assert endpoint.received == []


async def test_a_name_whose_address_changes_after_it_was_judged_leads_nowhere(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await endpoints.start(answering(200))
    answers = ["93.184.215.14", "127.0.0.1"]
    asked = []

    async def rebinding(*arguments: object, **_: object) -> list[tuple[object, ...]]:
        asked.append(arguments)
        address = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, endpoint.port))]

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", rebinding)
    async with sender(Reach(), timeout=0.3) as sending:
        for _ in range(3):
            answer = await sending.send(message(f"http://rebind.example:{endpoint.port}/"), NOW)
            assert answer.failure in {Failure.ADDRESS, Failure.TIMEOUT, Failure.CONNECTION}
    assert asked
    assert endpoint.received == []


async def test_a_port_that_is_not_allowed_is_not_connected_to(endpoints: Endpoints) -> None:
    endpoint = await endpoints.start(answering(200))
    only_web = Reach(allowed=LOOPBACK.allowed, ports=((80, 80), (443, 443)))
    async with sender(only_web) as sending:
        assert await sending.send(message(endpoint.url), NOW) == Answer(failure=Failure.ADDRESS)


async def test_a_hanging_endpoint_costs_no_more_than_the_timeout(endpoints: Endpoints) -> None:
    endpoint = await endpoints.start(hanging)
    async with sender(timeout=0.3) as sending:
        began = time.monotonic()
        await asyncio.gather(*(sending.send(message(endpoint.url), NOW) for _ in range(12)))
        assert time.monotonic() - began < 2


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
