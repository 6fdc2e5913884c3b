"""Bad input over HTTP: the right status, a Status as JSON, the field by its name; and nothing recorded."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.deadlines import eventually
from tests.http_client import HttpClient
from tests.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

UNKNOWN = "00000000-0000-7000-8000-000000000000"
MOST_BYTES = 5 << 20
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, redis_url: str, rabbitmq_url: str) -> Iterator[Stack]:
    settings = {"GATEWAY_CALL_DEADLINE_SECONDS": "1"}
    folder = tmp_path_factory.mktemp("bad-http")
    with Stack(folder, redis_url=redis_url, rabbitmq_url=rabbitmq_url, settings=settings) as stack:
        yield stack.start(gateways=1, workers=0)


@pytest.fixture
def client(stack: Stack) -> HttpClient:
    return HttpClient(stack.gateways[0].http_address)


@pytest.fixture(autouse=True)
def _nothing_is_recorded(stack: Stack) -> Iterator[None]:
    before = stack.keys()
    yield
    assert stack.keys() == before


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b'{"type": "a",}', "body", "at line 1, column 1"),
        (b'{\n "type": x}', "body", "line 2, column 10"),
        (b"\xff{}", "body", "byte 1"),
        (b"[]", "body", "must be an object, is an array"),
        (b'"a"', "body", "must be an object"),
        (b"null", "body", "must be an object, is null"),
        (b'{"type": "a", "type": "b"}', "body", "'type' twice"),
        (b'{"type": "a", "payload": NaN}', "body", "NaN"),
        (b'{"type": "a", "payload": 1e999}', "body", "too large"),
        (b'{"type": "a", "payload": 9007199254740993}', "body", "beyond 2**53"),
        (b"[" * 100_000, "body", "nested too deep"),
        (b'{"type": "a", "payload": ' + b"[" * 40 + b"]" * 40 + b"}", "payload", "nested deeper"),
        (b'{"type": "a", "payload": ' + b"[" * 95 + b"]" * 95 + b"}", "body", "deep"),
        (b'{"type": "a", "colour": 1}', "colour", "is no field of SubmitTaskRequest"),
        (b'{"type": 5}', "type", "must be text, is the number 5"),
        (b'{"type": "a", "labels": {"k": 1}}', "labels['k']", "must be text, is the number 1"),
        (b'{"type": "a", "labels": [1]}', "labels", "must be an object, is an array"),
        (b'{"type": "a", "priority": "URGENT"}', "priority", "TASK_PRIORITY_HIGH"),
        (b'{"type": "a", "priority": 77}', "priority", "77 is no TaskPriority"),
        (b'{"type": "a", "timeout": 5}', "timeout", 'such as "1.5s", is the number 5'),
        (b'{"type": "a", "scheduleTime": "soon"}', "schedule_time", "a time such as"),
        (b'{"type": "a", "retryPolicy": {"maxAttempts": 1.5}}', "retry_policy.max_attempts", "a whole number"),
        (b'{"type": "a", "retryPolicy": {"maxAttempts": true}}', "retry_policy.max_attempts", "is true"),
        (b'{"type": "a", "retryPolicy": {"tries": 1}}', "retry_policy.tries", "is no field of RetryPolicy"),
        (b'{"type": "a", "retryPolicy": {"maxAttempts": 101}}', "retry_policy.max_attempts", "between 1 and 100"),
        (b'{"type": "a", "webhooks": {}}', "webhooks", "must be an array, is an object"),
        (b'{"type": "a", "webhooks": [{"url": 1}]}', "webhooks[0].url", "must be text"),
        (b'{"type": "a", "webhooks": [null]}', "webhooks[0]", "must be an object, is null"),
        (b'{"type": "\\ud800"}', "type", "must be text"),
        (b'{"type": "a", "payload": "\\ud800"}', "payload", "surrogate"),
        (b"{}", "type", "must not be empty"),
        (b"", "type", "must not be empty"),
        (b'{"type": "two words"}', "type", "must start with a letter"),
    ],
)
def test_a_bad_body_is_400_and_names_the_place(client: HttpClient, body: bytes, field: str, says: str) -> None:
    reply = client.ask("POST", "/tasks", body, JSON)
    assert (reply.status, reply.reason) == (400, "INVALID_REQUEST"), reply
    assert says in reply.fields[field]
    assert says in reply.json["message"]
    assert reply.json["code"] == 3


def test_every_wrong_field_is_named_at_once(client: HttpClient) -> None:
    reply = client.post("/tasks", {"type": 1, "colour": 2, "webhooks": [{"url": "https://x"}, {"statuses": ["GOOD"]}]})
    assert set(reply.fields) == {"type", "colour", "webhooks[1].statuses[0]"}


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/nothing", 404, "ROUTE_NOT_FOUND"),
        ("POST", "/nothing", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/tasks/", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/livez/", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/%00", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/..%2f..%2fetc/passwd", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/assets/../app.py", 404, "ROUTE_NOT_FOUND"),
        ("PUT", "/tasks", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", f"/tasks/{UNKNOWN}", 405, "METHOD_NOT_ALLOWED"),
        ("POST", f"/tasks/{UNKNOWN}/stream", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/tasks", 405, "METHOD_NOT_ALLOWED"),
        ("BREW", "/tasks", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/tasks/no-uuid", 400, "INVALID_REQUEST"),
        ("GET", f"/tasks/{UNKNOWN.upper()}?x=1", 400, "INVALID_REQUEST"),
        ("GET", "/tasks/%ff", 400, "INVALID_REQUEST"),
        ("GET", "/tasks/%00", 400, "INVALID_REQUEST"),
        ("GET", "/tasks/no-uuid/stream", 400, "INVALID_REQUEST"),
        ("POST", "/tasks/no-uuid/cancel", 400, "INVALID_REQUEST"),
        ("GET", f"/tasks/{UNKNOWN}", 404, "TASK_NOT_FOUND"),
    ],
)
def test_a_wrong_path_or_method_is_told(client: HttpClient, method: str, path: str, status: int, reason: str) -> None:
    reply = client.ask(method, path)
    assert (reply.status, reply.reason) == (status, reason), reply
    assert ("allow" in reply.headers) == (status == 405)


def test_head_is_answered_where_get_is_and_never_by_a_stream(client: HttpClient) -> None:
    reply = client.ask("HEAD", "/livez")
    assert (reply.status, reply.body) == (200, b"")
    assert client.ask("HEAD", f"/tasks/{UNKNOWN}/stream").status == 405


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_a_body_that_is_not_said_to_be_json_is_415(client: HttpClient, kind: str) -> None:
    reply = client.ask("POST", "/tasks", b'{"type": "a"}', {"Content-Type": kind})
    assert (reply.status, reply.reason) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_huge_body_is_413_whether_its_length_is_said_or_not(client: HttpClient) -> None:
    body = b'{"type": "a", "payload": "' + b"x" * MOST_BYTES + b'"}'
    said = client.ask("POST", "/tasks", body, JSON)
    assert (said.status, said.reason) == (413, "REQUEST_TOO_LARGE")
    chunked = b"".join(b"%x\r\n%s\r\n" % (1 << 20, b"x" * (1 << 20)) for _ in range(6)) + b"0\r\n\r\n"
    head = b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert _raw(client, head + chunked).startswith(b"HTTP/1.1 413 ")


def test_a_payload_beyond_its_limit_is_400_and_named(client: HttpClient) -> None:
    reply = client.post("/tasks", {"type": "a", "payload": "x" * (1 << 20)})
    assert reply.status == 400
    assert "bytes" in reply.fields["payload"]


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (b"HELLO\r\n\r\n", 400, b"MALFORMED_REQUEST"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, b"MALFORMED_REQUEST"),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400, b"MALFORMED_REQUEST"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400, b"MALFORMED_REQUEST"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431, b"HEADERS_TOO_LARGE"),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, b"HEADERS_TOO_LARGE"),
        (
            b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            400,
            b"MALFORMED_REQUEST",
        ),
        (
            (
                b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n"
            ),
            400,
            b"MALFORMED_REQUEST",
        ),
    ],
)
def test_what_is_no_http_is_told_so_and_hung_up_on(client: HttpClient, sent: bytes, status: int, reason: bytes) -> None:
    answer = _raw(client, sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"content-type: application/json" in answer
    assert b"connection: close" in answer
    assert reason in answer


def test_a_body_that_does_not_come_is_408_in_time(client: HttpClient) -> None:
    began = time.monotonic()
    answer = _raw(
        client,
        b'POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"type"',
    )
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b"REQUEST_TOO_SLOW" in answer
    assert 0.9 < time.monotonic() - began < 5


def test_a_client_that_leaves_in_the_middle_of_a_body_harms_nobody(client: HttpClient, stack: Stack) -> None:
    for _ in range(20):
        with _connected(client) as gone:
            gone.sendall(b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
    eventually(lambda: client.get("/livez").status == 200, within=5, what="the gateway to answer")
    assert not stack.gateways[0].log_lines("rpc.failed")


@pytest.mark.parametrize("last", ["x", "-1", "9" * 30, "1.5", "1e30"])
def test_a_last_event_id_that_is_no_sequence_is_400(client: HttpClient, last: str) -> None:
    reply = client.get(f"/tasks/{UNKNOWN}/stream", Last_Event_ID=last)
    assert reply.status == 400
    assert "after_sequence" in reply.fields


def test_pages_of_other_sites_change_nothing_and_pages_from_here_may(client: HttpClient) -> None:
    path = f"/tasks/{UNKNOWN}/cancel"
    for origin in ("https://evil.example", "null", f"http://{client.address}.evil.example"):
        reply = client.post(path, None, Origin=origin)
        assert (reply.status, reply.reason) == (403, "FOREIGN_ORIGIN")
    assert client.post(path, None, Origin=f"http://{client.address}").status == 404


def test_every_answer_has_the_headers_that_keep_browsers_safe(client: HttpClient) -> None:
    for path in ("/livez", "/nothing", f"/tasks/{UNKNOWN}"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def _connected(client: HttpClient) -> socket.socket:
    host, _, port = client.address.partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def _raw(client: HttpClient, sent: bytes) -> bytes:
    """What is answered to these bytes, up to the end of the connection or of the answer."""
    with _connected(client) as connection:
        connection.sendall(sent)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            part = connection.recv(65_536)
            if not part:
                break
            answer += part
        return answer
