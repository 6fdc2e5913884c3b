"""`python -m worker_service`: one worker, or `WORKER_COUNT` of them."""

from __future__ import annotations

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
from worker_service.settings import WorkerSettings

if TYPE_CHECKING:
    import asyncio


def main() -> None:
    """Run tasks until SIGTERM or SIGINT."""
    settings = read_settings(WorkerSettings)
    configure_logs("worker", level=settings.log_level, form=settings.log_format)
    # Like `python -m`, the console knows the modules of the folder it is started in.
    sys.path.insert(0, str(Path.cwd()))
    try:
        handlers = load_handlers(settings.handlers)
    except HandlerError as error:
        sys.exit(str(error))
    if not handlers:
        sys.exit("WORKER_HANDLERS is empty: name the modules that hold your handlers, like WORKER_HANDLERS=my.tasks")
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


if __name__ == "__main__":
    main()
