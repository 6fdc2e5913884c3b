"""What stands around every request: errors as answers, safe headers, foreign pages kept out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway_service.faults import TaskNotFoundError, TooManyCallsError
from gateway_service.http.app import cross_origin
from gateway_service.http.assets import Asset, load_assets
from gateway_service.http.guard import Guard
from tests.unit.gateway.asgi import ask

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from tests.http_client import Reply

HERE = "http://here"
FRIEND = "https://friend.example"


async def _says(request: Request) -> Response:
    match request.query_params.get("say"):
        case "busy":
            raise TooManyCallsError("busy")
        case "absent":
            raise TaskNotFoundError("x")
        case "bug":
            raise KeyError("secret")
        case "cancelled":
            raise asyncio.CancelledError
        case _:
            return PlainTextResponse("fine")


def _app(*origins: str) -> Starlette:
    return Starlette(
        routes=[Route("/", _says, methods=["GET", "POST"])],
        middleware=[*cross_origin(origins), Middleware(Guard, origins=origins)],
    )


@pytest.mark.parametrize(
    ("say", "status", "reason"),
    [
        ("busy", 429, "RATE_LIMITED"),
        ("absent", 404, "TASK_NOT_FOUND"),
        ("bug", 500, "INTERNAL"),
        ("cancelled", 503, "SHUTTING_DOWN"),
    ],
)
async def test_whatever_is_raised_is_answered_as_a_status(say: str, status: int, reason: str) -> None:
    reply = await ask(_app(), f"/?say={say}")
    assert (reply.status, reply.reason) == (status, reason)
    assert b"secret" not in reply.body
    assert ("retry-after" in reply.headers) == (status in (429, 503))


async def test_the_time_to_wait_is_rounded_up_to_whole_seconds() -> None:
    assert (await ask(_app(), "/?say=busy")).headers["retry-after"] == "1"


async def test_an_answer_that_breaks_off_is_not_completed() -> None:
    async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("late")

    with pytest.raises(KeyError):
        await ask(Guard(half, origins=()), "/")


async def test_headers_beyond_their_limit_are_431_however_they_came() -> None:
    assert (await ask(_app(), "/", headers={"X": "x" * 40_000})).status == 431
    assert (await ask(_app(), "/?" + "x" * 40_000)).status == 431


async def test_a_change_is_taken_from_here_from_friends_and_from_no_page_at_all() -> None:
    host = {"Host": "here"}
    assert (await ask(_app(FRIEND), "/", method="POST", headers=host)).status == 200
    assert (await ask(_app(FRIEND), "/", method="POST", headers={**host, "Origin": HERE})).status == 200
    assert (await ask(_app(FRIEND), "/", method="POST", headers={**host, "Origin": FRIEND})).status == 200
    refused = await ask(_app(FRIEND), "/", method="POST", headers={**host, "Origin": "https://foe.example"})
    assert (refused.status, refused.reason) == (403, "FOREIGN_ORIGIN")
    assert (await ask(_app("*"), "/", method="POST", headers={**host, "Origin": "https://foe.example"})).status == 200


async def test_friends_may_read_even_errors_and_others_may_not() -> None:
    for say in ("", "absent"):
        reply = await ask(_app(FRIEND), f"/?say={say}", headers={"Origin": FRIEND})
        assert reply.headers["access-control-allow-origin"] == FRIEND
        other = await ask(_app(FRIEND), f"/?say={say}", headers={"Origin": "https://foe.example"})
        assert "access-control-allow-origin" not in other.headers
        alone = await ask(_app(), f"/?say={say}", headers={"Origin": FRIEND})
        assert "access-control-allow-origin" not in alone.headers


async def test_a_friend_may_ask_before_it_sends_json_with_a_key() -> None:
    asked = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, idempotency-key, last-event-id",
    }
    reply = await ask(_app(FRIEND), "/", method="OPTIONS", headers=asked)
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == FRIEND


async def test_a_file_is_sent_once_small_and_kept(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>" + "x" * 1_000, encoding="utf-8")
    (tmp_path / "assets" / "a-1.js").write_text("1", encoding="utf-8")
    (tmp_path / ".hidden").write_text("no", encoding="utf-8")
    found = load_assets(tmp_path)
    assert set(found) == {"/", "/index.html", "/assets/a-1.js"}
    page = await _served(found["/"])
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    small = await _served(found["/"], **{"Accept-Encoding": "gzip, br"})
    assert small.headers["content-encoding"] == "gzip"
    assert len(small.body) < len(page.body) / 5
    kept = await _served(found["/"], **{"If-None-Match": page.headers["etag"]})
    assert (kept.status, kept.body) == (304, b"")
    assert "immutable" in found["/assets/a-1.js"].headers["Cache-Control"]


async def _served(asset: Asset, **headers: str) -> Reply:
    return await ask(Starlette(routes=[Route("/", asset.respond)]), "/", headers=headers)
