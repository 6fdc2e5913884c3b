"""A receiver of Taskcast's webhooks: verifies each one, and hears of each event once.

    TASKCAST_WEBHOOK_SECRET=whsec_… python examples/webhooks/receiver.py --port 9000

It needs `standardwebhooks`, `starlette` and `uvicorn`, and nothing of Taskcast.
"""

from __future__ import annotations

import argparse
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import uvicorn
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

REMEMBERED = 10_000
"""Ids of webhooks that have been dealt with. A real receiver keeps them where it keeps its data."""

# Several secrets, separated by commas, while one replaces the other.
SECRETS = [Webhook(secret) for secret in os.environ["TASKCAST_WEBHOOK_SECRET"].split(",")]
seen: OrderedDict[str, None] = OrderedDict()


def verified(body: bytes, headers: dict[str, str]) -> dict[str, Any] | None:
    """The webhook's content, or None if nobody who knows a secret has sent it, now and in these words."""
    for secret in SECRETS:
        try:
            content: dict[str, Any] = secret.verify(body, headers)
        except (WebhookVerificationError, ValueError):
            continue
        return content
    return None


async def receive(request: Request) -> Response:
    """Answer quickly: 2xx means that the webhook is dealt with, anything else that it shall come again."""
    body = await request.body()
    content = verified(body, dict(request.headers))
    if content is None:
        return JSONResponse({"error": "the signature does not fit"}, status_code=401)
    webhook_id = request.headers["webhook-id"]
    # A webhook comes at least once: the id tells a repetition.
    if webhook_id not in seen:
        event = content["data"]
        print(f"{content['type']} of task {event['taskId']}, event {event['sequence']}", flush=True)
        seen[webhook_id] = None
        if len(seen) > REMEMBERED:
            seen.popitem(last=False)
    return Response(status_code=204)


app = Starlette(routes=[Route("/hook", receive, methods=["POST"])])

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Receive Taskcast's webhooks.")
    parser.add_argument("--port", type=int, default=9000)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port, log_level="warning")
