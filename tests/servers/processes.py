"""One child process that serves: started, watched, ended by its pid, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_POLL = 0.02

# Lives in a session of its own and holds the reading end of a pipe. The pipe ends when the test process does,
# even by SIGKILL, and then the server's process group is killed. An orderly stop ends the guard first.
_GUARD = 'read -r _; kill -s KILL -- "-$1"'


class ServerStartError(RuntimeError):
    """A server did not start; the message holds the end of its log."""


def wait_until(condition: Callable[[], bool], *, within: float, what: str) -> None:
    """Return as soon as `condition()` is true.

    Raises:
        TimeoutError: it was still false after `within` seconds; `what` says what was waited for.
    """
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within:g} s for {what}")
        time.sleep(_POLL)


class ServerProcess:
    """A server in its own session, with standard output and error appended to `log`.

    It can be started again after it ended. `environment` replaces the whole environment when given.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.environment = None if environment is None else dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            RuntimeError: it has not been started, or was stopped.
        """
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process exists and has not exited."""
        return self._process is not None and not self._exited()

    def start(self, *, ready: Callable[[], bool], within: float) -> None:
        """Start the process and wait until `ready()`.

        Raises:
            ServerStartError: it exited, or was not ready after `within` seconds; nothing is left running.
            RuntimeError: it is running already.
        """
        if self._process is not None:
            raise RuntimeError(f"{self.name} is running already, as process {self.pid}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.log.parent,
                start_new_session=True,
            )
        try:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "guard", str(self.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._await(ready, within)
        except BaseException:
            # Whatever interrupted the start, Ctrl-C included: no half-started server stays behind.
            self.kill()
            raise

    def stop(self, *, timeout: float = 30) -> int | None:
        """End it in good order (SIGTERM), by force after `timeout` seconds.

        Returns:
            Its exit code, negative for a signal; None if it was not running.
        """
        if self._process is None:
            return None
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a paused process would never see the SIGTERM
        return self._end(timeout=timeout)

    def kill(self) -> None:
        """End it at once (SIGKILL), and all that it started; nothing happens if it is not running."""
        if self._process is not None:
            self._end(timeout=0)

    def pause(self) -> None:
        """Stop it from running (SIGSTOP) until `resume`: its connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of its output, under a heading that names the file."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return f"--- {self.log} does not exist"
        return "\n".join([f"--- the end of {self.log}", *text.splitlines()[-lines:]])

    def _await(self, ready: Callable[[], bool], within: float) -> None:
        try:
            wait_until(lambda: self._exited() or ready(), within=within, what=f"{self.name} to be ready")
        except TimeoutError as error:
            raise ServerStartError(f"{error}\n{self.log_tail()}") from None
        if self._exited():
            raise ServerStartError(f"{self.name} exited before it was ready\n{self.log_tail()}")

    def _signal(self, number: signal.Signals) -> None:
        if not self._exited():
            os.kill(self.pid, number)

    def _exited(self) -> bool:
        """Whether the process ended. It is not reaped here, so that its id stays its own until `_end`."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def _end(self, *, timeout: float) -> int:
        """Wait up to `timeout` seconds for the exit, then kill its whole group; the exit code."""
        process, guard = self._process, self._guard
        assert process is not None
        with contextlib.suppress(TimeoutError):
            wait_until(self._exited, within=timeout, what="exit")
        if guard is not None:
            guard.kill()
            guard.wait()
            if guard.stdin is not None:
                guard.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        self._process = self._guard = None
        return process.wait()
