"""Places where a test can make a process die on purpose.

`TASKCAST_FAILPOINTS=gateway.recorded` lets the process kill itself, as SIGKILL does, the first time it passes
that place. Unset, as in production, passing costs a look into an empty set.
"""

from __future__ import annotations

import os
import signal

_ARMED = frozenset(name for name in os.environ.get("TASKCAST_FAILPOINTS", "").split(",") if name)


def failpoint(name: str) -> None:
    """Die here if this place is armed."""
    if name in _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
