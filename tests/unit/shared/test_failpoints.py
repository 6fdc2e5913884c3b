from __future__ import annotations

import os
import signal
import subprocess
import sys

PASSES = "from shared.failpoints import failpoint; failpoint('worker.claimed'); print('passed')"


def run(armed: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TASKCAST_FAILPOINTS"}
    if armed is not None:
        environment["TASKCAST_FAILPOINTS"] = armed
    return subprocess.run(
        [sys.executable, "-c", PASSES], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_place_that_is_not_armed_is_passed() -> None:
    for armed in (None, "", "gateway.recorded,worker.finished"):
        done = run(armed)
        assert (done.returncode, done.stdout) == (0, "passed\n")


def test_an_armed_place_kills_the_process_as_sigkill_does() -> None:
    done = run("gateway.recorded,worker.claimed")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
