"""The pages that every service shows to what watches over it: its numbers, and that it is alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.metrics import exposition

if TYPE_CHECKING:
    from starlette.requests import Request


async def metrics(request: Request) -> Response:
    """`GET /metrics`, for Prometheus."""
    content, kind = exposition(request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": kind})


async def livez(_request: Request) -> Response:
    """`GET /livez`: the process answers, whatever it can reach."""
    return JSONResponse({"status": "alive"})


def build_metrics_app() -> Starlette:
    """An application with these pages and nothing else."""
    return Starlette(routes=[Route("/metrics", metrics), Route("/livez", livez)])
