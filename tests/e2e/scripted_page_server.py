"""A server of fixtures: as many tasks and as many events a second as a test of the page wants, at little cost.

It serves the built page, and the part of the HTTP interface that the page uses, from memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.deadlines import eventually
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

STATIC = Path(__file__).resolve().parents[2] / "gateway_service" / "http" / "static"
TERMINAL = ("SUCCESS", "FAILED", "ERROR", "CANCELLED", "TIMEOUT")
TICK_SECONDS = 0.02

Json = dict[str, Any]


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ScriptedPageServer:
    """Enter to serve `tasks` tasks on a free port of loopback, with `rate` events a second; leave to stop."""

    def __init__(self, *, tasks: int, rate: float = 0, seed: int = 1) -> None:
        self.rate = rate
        self.sent = 0
        self._dice = random.Random(seed)
        self._tasks: dict[str, Json] = {}
        self._running: list[str] = []
        self._listeners: set[asyncio.Queue[str]] = set()
        began = time.time()
        for number in range(tasks):
            self._submit(began - (tasks - number) * 0.2, number)
        self.port = free_port()
        app = Starlette(
            routes=[
                Route("/tasks", self._list),
                Route("/tasks/{id}", self._get),
                Route("/stream", self._stream),
                Route("/queues", lambda _: JSONResponse({"queues": []})),
                Route("/workers", lambda _: JSONResponse({"workers": []})),
                Mount("/", StaticFiles(directory=STATIC, html=True)),
            ]
        )
        config = uvicorn.Config(app, port=self.port, log_level="warning", timeout_graceful_shutdown=1, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        eventually(lambda: self._server.started, within=10, what="the scripted server to listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    async def _serve(self) -> None:
        events = asyncio.create_task(self._make_events())
        await self._server.serve()
        events.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await events

    # ------------------------------------------------------------------------------------------ events

    async def _make_events(self) -> None:
        clock = asyncio.get_running_loop()
        began = clock.time()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            while self.sent < (clock.time() - began) * self.rate:
                self._next_event()
                self.sent += 1

    def _next_event(self) -> None:
        throw = self._dice.random()
        if throw < 0.1 or not self._running:
            task = self._submit(time.time(), len(self._tasks))
            self._tell(task, "SUBMITTED")
            return
        task = self._tasks[self._dice.choice(self._running)]
        if task["status"] == "TASK_STATUS_WAITING":
            self._change(task, "PROCESSING", "STARTED", attempt=1, worker="worker-1", startTime=rfc3339(time.time()))
        elif throw < 0.2:
            self._running.remove(task["id"])
            self._change(task, "SUCCESS", "SUCCEEDED", endTime=rfc3339(time.time()), result={"done": True})
        else:
            percent = min(99.0, task.get("progress", {}).get("percent", 0) + self._dice.random() * 5)
            progress = {"percent": percent, "message": f"page {int(percent)}"}
            self._change(task, "PROCESSING", "PROGRESSED", progress=progress)

    def _change(self, task: Json, status: str, event: str, **fields: object) -> None:
        task |= {"status": f"TASK_STATUS_{status}", "sequence": str(int(task["sequence"]) + 1), **fields}
        self._tell(task, event)

    def _tell(self, task: Json, event: str) -> None:
        told: Json = {key: task[key] for key in ("sequence", "status", "progress", "result", "worker") if key in task}
        told |= {"taskId": task["id"], "type": f"TYPE_{event}", "attempt": task.get("attempt", 0)}
        told["time"] = rfc3339(time.time())
        message = f"event: event\nid: {task['id']}:{task['sequence']}\ndata: {json.dumps(told)}\n\n"
        for listener in self._listeners:
            listener.put_nowait(message)

    def _submit(self, at: float, number: int) -> Json:
        dice = self._dice
        status = (
            dice.choices(["PROCESSING", "WAITING", *TERMINAL], [4, 2, 30, 2, 2, 1, 1])[0]
            if at < time.time() - 1
            else "WAITING"
        )
        task: Json = {
            "id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            "type": dice.choice(["report.render", "image.thumbnail", "files.checksum", "mail.send"]),
            "queue": dice.choice(["default", "default", "bulk"]),
            "priority": f"TASK_PRIORITY_{dice.choice(['LOW', 'NORMAL', 'NORMAL', 'HIGH'])}",
            "labels": {"team": dice.choice(["blue", "red"]), "run": str(number % 7)},
            "status": f"TASK_STATUS_{status}",
            "sequence": "1",
            "createTime": rfc3339(at),
            "updateTime": rfc3339(at),
        }
        if status != "WAITING":
            task |= {"attempt": 1, "startTime": rfc3339(at + 0.1), "retryPolicy": {"maxAttempts": 3}}
        if status == "PROCESSING":
            task["progress"] = {"percent": dice.random() * 90, "message": "under way"}
        if status in TERMINAL:
            task["endTime"] = rfc3339(at + dice.random() * 5)
        else:
            self._running.append(task["id"])
        self._tasks[task["id"]] = task
        return task

    # ---------------------------------------------------------------------------------------- requests

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        wanted = set(query.getlist("status"))
        found = [task for task in reversed(self._tasks.values()) if not wanted or task["status"] in wanted]
        begin = int(query.get("pageToken") or 0)
        end = begin + int(query.get("pageSize") or 50)
        return JSONResponse({"tasks": found[begin:end], "nextPageToken": str(end) if end < len(found) else ""})

    async def _get(self, request: Request) -> Response:
        return JSONResponse({"task": self._tasks[request.path_params["id"]]})

    async def _stream(self, _: Request) -> Response:
        listener: asyncio.Queue[str] = asyncio.Queue()

        async def body() -> AsyncIterator[str]:
            self._listeners.add(listener)
            try:
                yield ": here\n\n"
                while not self._server.should_exit:
                    with contextlib.suppress(TimeoutError):
                        yield await asyncio.wait_for(listener.get(), 0.5)
            finally:
                self._listeners.discard(listener)

        return StreamingResponse(body(), media_type="text/event-stream")
