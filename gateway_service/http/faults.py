"""What is wrong with a request before it means anything: one class for each reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence


class MalformedRequestError(Fault):
    """The bytes are no HTTP request."""

    def __init__(self) -> None:
        super().__init__("This is no HTTP/1.1 request that can be read.")


class HeadersTooLargeError(Fault):
    """The request line and the headers are larger than they may be."""

    def __init__(self, most: int) -> None:
        super().__init__(f"Request line and headers may have {most} bytes together.")


class RequestTooSlowError(Fault):
    """The request did not arrive in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The request has not arrived whole within {seconds:g} s.")


class RequestTooLargeError(Fault):
    """The body is larger than it may be."""

    def __init__(self, most: int) -> None:
        super().__init__(f"A body may have at most {most} bytes.")


class UnsupportedMediaTypeError(Fault):
    """The body is said to be something else than JSON in UTF-8."""

    def __init__(self, given: str) -> None:
        said = f"is {given[:80]!r}" if given else "is missing"
        super().__init__(f"Content-Type {said}; it must be application/json, in UTF-8.")


class ForeignOriginError(Fault):
    """A page of another site asks for a change."""

    def __init__(self, origin: str) -> None:
        super().__init__(f"Pages of {origin[:200]!r} may not change anything here; see GATEWAY_HTTP_CORS_ORIGINS.")


class RouteNotFoundError(Fault):
    """Nothing is served under this path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Nothing is served at {path[:200]!r}; /docs names what is.")


class MethodNotAllowedError(Fault):
    """The path is served, and not in this way."""

    def __init__(self, method: str, path: str, allowed: Sequence[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__(f"{method[:40]} cannot be asked of {path[:200]!r}; it takes {', '.join(allowed)}.")


class NotReadyError(Fault):
    """Calls cannot succeed right now."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(f"Not ready: {'; '.join(reasons)}.")
