"""The command line: `taskcast`, also `python -m taskcast.cli`."""

from __future__ import annotations

import io
import os
import sys


def main() -> None:
    """Run the command that the arguments name, and exit with its status."""
    # The gRPC library writes of every lost connection to standard error, which is the place of our one sentence.
    # It reads this when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        from taskcast.cli.app import app  # noqa: PLC0415  # See above.

        app(prog_name="taskcast")
    except KeyboardInterrupt:
        # Ctrl-C before a command had begun.
        sys.exit(130)
