"""`taskcast dev`: everything in one process, with a private store and no broker to install."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import os
import secrets
import sys
from contextlib import AsyncExitStack
from pathlib import Path  # typer reads annotations at run time.
from typing import TYPE_CHECKING, Annotated

import typer

from gateway_service.bootstrap import Gateway
from gateway_service.settings import GatewaySettings
from shared import lifecycle
from shared.adapters.local import LocalBroker
from shared.settings import read_settings
from shared.telemetry import configure_logs
from shared.webhook_secrets import PREFIX
from taskcast.embedded import EmbeddedStore, EmbeddedStoreError
from worker_service.bootstrap import Worker
from worker_service.registry import HandlerError, load_handlers
from worker_service.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker_service.registry import AnyHandler

EXAMPLES = ("examples.files", "examples.images", "examples.demo")
EXAMPLE_JOBS = {"demo.steps": '{"duration": 5}', "files.checksum": '{"path": "."}'}


def dev(
    data: Annotated[
        Path | None, typer.Option(help="Keep tasks in this folder, so that they survive a restart.")
    ] = None,
    listen: Annotated[str | None, typer.Option(help="Address for gRPC, by default GATEWAY_GRPC_LISTEN.")] = None,
    http: Annotated[
        str | None, typer.Option(help="Address for HTTP, by default GATEWAY_HTTP_LISTEN. Empty: none.")
    ] = None,
    handlers: Annotated[
        str | None,
        typer.Option(help="Modules and TOML files with handlers, by commas; by default WORKER_HANDLERS."),
    ] = None,
    *,
    demo: Annotated[bool, typer.Option("--demo", help="Run one real job, show its progress, and stop.")] = False,
) -> None:
    """Run gateway and worker in this process, with a private store and no broker to install."""
    os.environ.setdefault("TASKCAST_LOG_LEVEL", "WARNING")
    # Receivers that are tried out run on this machine; whoever wants to verify signatures sets a secret.
    os.environ.setdefault("TASKCAST_WEBHOOK_ALLOW", "127.0.0.0/8,::1/128")
    os.environ.setdefault("TASKCAST_WEBHOOK_SECRET", f"{PREFIX}{base64.b64encode(secrets.token_bytes(32)).decode()}")
    sys.path.insert(0, str(Path.cwd()))
    gateway = read_settings(GatewaySettings)
    worker = read_settings(WorkerSettings)
    configure_logs("dev", level=gateway.log_level, form=gateway.log_format)
    address = listen or ("127.0.0.1:0" if demo else gateway.grpc_listen)
    http_address = "" if demo else gateway.http_listen if http is None else http
    try:
        modules = _modules(handlers, worker)
        found = load_handlers(modules)
        with EmbeddedStore(data) as store:
            embedded: dict[str, object] = {"redis_url": store.url}
            stack = _Embedded(
                gateway.model_copy(
                    update={**embedded, "grpc_listen": address, "http_listen": http_address, "share_port": False}
                ),
                worker.model_copy(update=embedded | {"handlers": modules}),
                found,
            )
            status = 0

            async def serve(stopping: asyncio.Event) -> None:
                nonlocal status
                async with stack:
                    if demo:
                        status = await _demonstrate(stack.address)
                    else:
                        _invite(stack.address, stack.http_address, sorted(found), data)
                        await stopping.wait()
                if stack.still_running:
                    # A handler that listens to nobody would keep its thread, or this loop, and so the process alive.
                    store.close()
                    os._exit(status)

            lifecycle.run(serve)
    except (EmbeddedStoreError, HandlerError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(status)


class _Embedded:
    """Gateway and worker around one in-process broker."""

    def __init__(self, gateway: GatewaySettings, worker: WorkerSettings, handlers: Mapping[str, AnyHandler]) -> None:
        self._gateway_settings = gateway
        self._worker_settings = worker
        self._handlers = handlers
        self._stack = AsyncExitStack()
        self.address = ""
        self.http_address = ""

    async def __aenter__(self) -> None:
        async with AsyncExitStack() as stack:
            broker = LocalBroker()
            stack.push_async_callback(broker.close)
            gateway = await stack.enter_async_context(Gateway(self._gateway_settings, broker=broker))
            self._worker = Worker(self._worker_settings, self._handlers, broker=broker)
            await stack.enter_async_context(self._worker)
            host = self._gateway_settings.grpc_listen.rpartition(":")[0]
            self.address = f"{host}:{gateway.port}"
            if gateway.http_port is not None:
                self.http_address = f"{self._gateway_settings.http_listen.rpartition(':')[0]}:{gateway.http_port}"
            self._stack = stack.pop_all()

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def still_running(self) -> int:
        """Once left: how many handlers run on although they were told to stop."""
        return self._worker.still_running


def _modules(handlers: str | None, worker: WorkerSettings) -> tuple[str, ...]:
    if handlers:
        return tuple(part.strip() for part in handlers.split(",") if part.strip())
    if worker.handlers:
        return worker.handlers
    if importlib.util.find_spec("examples") is None:
        raise HandlerError("Say which handlers to run: `taskcast dev --handlers my.tasks`, or set WORKER_HANDLERS.")
    return EXAMPLES


def _invite(address: str, http: str, types: list[str], data: Path | None) -> None:
    server = "" if address == "127.0.0.1:50051" else f" --server {address}"
    examples = [(type_, payload) for type_, payload in EXAMPLE_JOBS.items() if type_ in types] or [(types[0], "null")]
    jobs = "\n".join(f"  taskcast{server} submit {type_} --payload '{payload}' --watch" for type_, payload in examples)
    kept = f"in {data}" if data else "until it stops (keep them with --data DIR)"
    type_, payload = examples[0]
    body = json.dumps({"type": type_, "payload": json.loads(payload)})
    curl = f"""
  curl http://{http}/tasks -H 'Content-Type: application/json' -d '{body}'
  curl -N 'http://{http}/tasks/<id>/stream?afterSequence=0'
"""
    look = f"Look at http://{http}/ in a browser, or paste" if http else "Paste"
    typer.echo(
        f"""Taskcast serves gRPC on {address}{f", HTTP on http://{http}," if http else ""} and keeps tasks {kept}.
Handlers: {", ".join(types)}

{look} one of these into another terminal:

{jobs}
  grpcurl -plaintext {address} list
  grpcurl -plaintext -d '{body}' {address} taskcast.v1.TaskService/SubmitTask
  grpcurl -plaintext -d '{{"task_id": "<id>", "after_sequence": 0}}' {address} taskcast.v1.TaskService/WatchTask
{curl if http else ""}
Stop with Ctrl-C."""
    )


async def _demonstrate(address: str) -> int:
    """Do as a user would: submit a real job with the CLI and watch it. Returns the CLI's exit status."""
    payload = json.dumps({"path": str(Path.cwd())})
    arguments = ["submit", "files.checksum", "--payload", payload, "--watch"]
    typer.echo(f"Taskcast serves gRPC on {address}. As a user would:\n")
    typer.echo(f"  taskcast --server {address} submit files.checksum --payload '{payload}' --watch\n")
    command = (sys.executable, "-m", "taskcast.cli", "--server", address, *arguments)
    process = await asyncio.create_subprocess_exec(*command)
    return await process.wait()
