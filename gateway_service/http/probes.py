"""What an orchestrator asks before it sends calls here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from gateway_service.http.faults import NotReadyError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway_service.readiness import Readiness


class Readyz:
    """`GET /readyz`: calls can succeed; if not, the answer says what is in the way."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def __call__(self, _request: Request) -> Response:
        """Answer a probe. A broker that is away is told of, but makes nobody unready: submits go on without it."""
        if reasons := self._readiness.obstacles():
            raise NotReadyError(reasons)
        return JSONResponse({"status": "ready", "broker": "connected" if self._readiness.has_broker else "away"})
