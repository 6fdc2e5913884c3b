"""Free TCP ports on loopback."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_LOWEST = 15_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 200

_handed_out: set[int] = set()
_random = random.SystemRandom()


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing uses, and that this process has not been given before.

    It lies below the range from which the system takes the source ports of outgoing connections, where that
    is known. Otherwise, while a server is down between two starts, a client that keeps dialling its port can
    be given that very port as its own, connect to itself, and keep the server from coming back.

    Raises:
        OSError: no port could be bound.
    """
    for _ in range(_TRIES):
        port = _candidate()
        if port in _handed_out:
            continue
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", port))
            port = int(probe.getsockname()[1])
            if port not in _handed_out:
                _handed_out.add(port)
                return port
    raise OSError(f"no free TCP port on 127.0.0.1 after {_TRIES} tries")


def _candidate() -> int:
    """A port worth trying; 0, which lets the system choose, where its own range leaves no room below."""
    try:
        lowest_ephemeral = int(_EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return _random.randrange(_LOWEST, lowest_ephemeral) if lowest_ephemeral > _LOWEST + 1_000 else 0
