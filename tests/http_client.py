"""HTTP as a careful client speaks it: answers taken apart, streams read event by event."""

from __future__ import annotations

import http.client
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CALL_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `headers` have names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The word of the error's ErrorInfo."""
        return str(self._detail("google.rpc.ErrorInfo")["reason"])

    @property
    def fields(self) -> dict[str, str]:
        """What is wrong with each field, by its path."""
        return {v["field"]: v["description"] for v in self._detail("google.rpc.BadRequest").get("fieldViolations", [])}

    def _detail(self, kind: str) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/json", self
        found: list[dict[str, Any]] = [d for d in self.json["details"] if d["@type"] == f"type.googleapis.com/{kind}"]
        return found[0] if found else {}


@dataclass(frozen=True, slots=True)
class Event:
    """One Server-Sent Event."""

    name: str
    id: str
    data: Any


class HttpClient:
    """Asks one gateway, over a connection for each question."""

    def __init__(self, address: str) -> None:
        """`address` is `host:port`."""
        self.address = address

    def get(self, path: str, **headers: str) -> Reply:
        """GET; an underscore in a header's name stands for a hyphen."""
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: object = None, **headers: str) -> Reply:
        """POST of a JSON body, or of none."""
        content = None if body is None else json.dumps(body).encode()
        return self.ask("POST", path, content, {"Content-Type": "application/json", **headers} if content else headers)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Any request."""
        connection = http.client.HTTPConnection(self.address, timeout=CALL_SECONDS)
        try:
            connection.request(method, path, body, _named(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, _lower(response), response.read())
        finally:
            connection.close()

    @contextmanager
    def stream(self, path: str, **headers: str) -> Iterator[EventReader]:
        """An open stream; leave to break it off."""
        connection = http.client.HTTPConnection(self.address, timeout=CALL_SECONDS)
        try:
            connection.request("GET", path, headers=_named(headers))
            yield EventReader(connection.getresponse())
        finally:
            connection.close()


class EventReader:
    """The events of one response, as an EventSource reads them."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = _lower(response)
        self.comments: list[str] = []
        self.retry: int | None = None
        self._response = response

    def __iter__(self) -> Iterator[Event]:
        """The events up to the end of the response."""
        fields: dict[str, str] = {}
        for line in self.lines():
            name, _, value = line.partition(": ")
            if not line:
                if "data" in fields:
                    yield Event(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
                fields = {}
            elif not name:
                self.comments.append(value)
            elif name == "retry":
                self.retry = int(value)
            else:
                fields[name] = value

    def lines(self) -> Iterator[str]:
        """The lines as they come."""
        for line in self._response:
            yield line.decode().rstrip("\r\n")

    def rest(self) -> bytes:
        """What is left of the body, to its end."""
        return self._response.read()


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
