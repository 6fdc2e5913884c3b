"""`python -m gateway_service`: one gateway, or `GATEWAY_PROCESSES` of them on one port."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gateway_service.bootstrap import Gateway
from gateway_service.settings import GatewaySettings
from shared import lifecycle, metrics
from shared.settings import read_settings
from shared.telemetry import configure_logs

if TYPE_CHECKING:
    import asyncio


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = read_settings(GatewaySettings)
    configure_logs("gateway", level=settings.log_level, form=settings.log_format)
    if settings.processes > 1:
        command = [sys.executable, "-m", "gateway_service"]
        environment = {"GATEWAY_PROCESSES": "1", "GATEWAY_SHARE_PORT": "true"}
        with metrics.shared_by_children() as numbers:
            environment |= numbers.environment
            lifecycle.Supervisor(command, settings.processes, environment, on_death=numbers.forget).run()
        return

    async def serve(stopping: asyncio.Event) -> None:
        await lifecycle.serve_until(stopping, Gateway(settings))

    try:
        lifecycle.run(serve)
    except OSError as error:
        sys.exit(f"The gateway cannot start: {error}")


if __name__ == "__main__":
    main()
