"""The application: which path is served by what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from gateway_service.http.assets import load_assets
from gateway_service.http.calls import CALLS, IDEMPOTENCY_KEY, CallEndpoint
from gateway_service.http.faults import MethodNotAllowedError, RouteNotFoundError
from gateway_service.http.guard import Guard
from gateway_service.http.measuring import ROUTE, Measuring
from gateway_service.http.openapi.pages import description_pages
from gateway_service.http.probes import Readyz
from gateway_service.http.streams import LAST_EVENT_ID, STREAMS, StreamEndpoint
from shared.metrics_app import livez, metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway_service.call_bound import CallBound
    from gateway_service.http.body import BodyReader
    from gateway_service.readiness import Readiness
    from gateway_service.rpc.admin_servicer import AdminServicer
    from gateway_service.rpc.task_servicer import TaskServicer
    from shared.domain.submission import Limits

    Endpoint = Callable[[Request], Awaitable[Response]]

STATIC = Path(__file__).parent / "static"


def build_app(
    tasks: TaskServicer,
    admin: AdminServicer,
    readiness: Readiness,
    *,
    bodies: BodyReader,
    bound: CallBound,
    limits: Limits,
    origins: Sequence[str],
) -> Starlette:
    """The ASGI application of one gateway. `origins`: other sites whose pages may use it."""
    routes: dict[str, dict[str, Endpoint]] = {}
    servicers = {"TaskService": tasks, "AdminService": admin}
    for call in CALLS:
        endpoint = CallEndpoint(call, getattr(servicers[call.service], call.rpc), bodies, bound)
        routes.setdefault(call.path, {}).update(_get(endpoint) if call.verb == "GET" else {call.verb: endpoint})
    # A stream has no HEAD, which would wait for an end that may never come.
    for stream in STREAMS:
        routes[stream.path] = {"GET": StreamEndpoint(stream, getattr(tasks, stream.rpc))}
    routes["/livez"] = _get(livez)
    routes["/readyz"] = _get(Readyz(readiness))
    routes["/metrics"] = _get(metrics)
    for path, asset in {**load_assets(STATIC), **description_pages(limits)}.items():
        routes[path] = _get(asset.respond)
    app = Starlette(
        routes=[_route(path, by_method) for path, by_method in routes.items()],
        middleware=[Middleware(Measuring), *cross_origin(origins), Middleware(Guard, origins=origins)],
        exception_handlers={HTTPException: _no_route},
    )
    # A redirect would name this host as the client called it, which may be a proxy's affair.
    app.router.redirect_slashes = False
    return app


def _route(path: str, by_method: Mapping[str, Endpoint]) -> Route:
    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = path
        chosen = by_method.get(request.method)
        if chosen is None:
            raise MethodNotAllowedError(request.method, request.url.path, sorted(by_method))
        return await chosen(request)

    route = Route(path, endpoint)
    route.methods = None  # So that this endpoint hears of every method, and answers as all errors are answered.
    return route


def _get(endpoint: Endpoint) -> dict[str, Endpoint]:
    """GET, and HEAD, whose answer uvicorn sends without the body."""
    return {"GET": endpoint, "HEAD": endpoint}


def _no_route(request: Request, _error: Exception) -> Response:
    raise RouteNotFoundError(request.url.path)


def cross_origin(origins: Sequence[str]) -> list[Middleware]:
    """What lets pages of other sites read answers; nothing if there are none to be let."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type", IDEMPOTENCY_KEY, LAST_EVENT_ID],
            expose_headers=["Location", "Retry-After"],
        )
    ]
