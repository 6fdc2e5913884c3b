"""Make sure, before the first test, that the programs that tests run are there: the private servers' and Node.js.

Installing them takes longer than a test may.
"""

from __future__ import annotations

import os
import sys

from tests.servers.programs import (
    ServerMissingError,
    ensure_browser,
    ensure_node,
    ensure_rabbitmq,
    find_browser,
    find_node,
    find_rabbitmq,
    find_valkey,
)


def main() -> int:
    """Install what is missing and may be installed; 1, with a sentence, where that fails."""
    try:
        if not os.environ.get("REDIS_URL"):
            find_valkey()
        if not os.environ.get("RABBITMQ_URL"):
            if find_rabbitmq() is None:
                print("Installing RabbitMQ for the tests ...", flush=True)
            ensure_rabbitmq()
        if find_node() is None:
            print("Installing Node.js for the tests ...", flush=True)
        ensure_node()
        if find_browser() is None:
            print("Installing Chromium for the tests ...", flush=True)
        ensure_browser()
    except ServerMissingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
