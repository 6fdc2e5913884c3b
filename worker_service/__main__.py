"""`python -m worker_service [--role tasks|webhooks|all]`: one worker, or `WORKER_COUNT` of them."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shared import lifecycle, metrics
from shared.settings import read_settings
from shared.telemetry import configure_logs
from worker_service.bootstrap import Worker
from worker_service.registry import HandlerError, load_handlers
from worker_service.settings import ROLES, WorkerSettings

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from worker_service.registry import AnyHandler


def main() -> None:
    """Run tasks, send webhooks or do both, until SIGTERM or SIGINT."""
    _take_role(sys.argv[1:])
    settings = read_settings(WorkerSettings)
    configure_logs("worker", level=settings.log_level, form=settings.log_format)
    # Like `python -m`, the console knows the modules of the folder it is started in.
    sys.path.insert(0, str(Path.cwd()))
    handlers: Mapping[str, AnyHandler] = {}
    if settings.runs_tasks:
        try:
            handlers = load_handlers(settings.handlers)
        except HandlerError as error:
            sys.exit(str(error))
        if not handlers:
            sys.exit(
                "WORKER_HANDLERS is empty: name the modules that hold your handlers, like WORKER_HANDLERS=my.tasks"
            )
    if settings.processes > 1:
        command = [sys.executable, "-m", "worker_service"]
        with metrics.shared_by_children() as numbers:
            environment = {"WORKER_COUNT": "1", **numbers.environment}
            lifecycle.Supervisor(command, settings.processes, environment, on_death=numbers.forget).run()
        return

    async def serve(stopping: asyncio.Event) -> None:
        worker = Worker(settings, handlers)
        await lifecycle.serve_until(stopping, worker)
        if worker.still_running:
            # A handler that listens to nobody would keep its thread, or this loop, and so the process alive.
            logging.shutdown()
            os._exit(0)

    lifecycle.run(serve)


def _take_role(arguments: Sequence[str]) -> None:
    """Put `--role` into the environment, where this process reads its settings and its children find it, too."""
    parser = argparse.ArgumentParser(prog="python -m worker_service", description="Run tasks and send webhooks.")
    parser.add_argument(
        "--role", choices=ROLES, help="run tasks only, send webhooks only, or do both (default: WORKER_ROLE, else all)"
    )
    if role := parser.parse_args(arguments).role:
        os.environ["WORKER_ROLE"] = role


if __name__ == "__main__":
    main()
