"""A child process together with whatever it starts, which never outlives this process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    Ending = TypeVar("Ending")

STREAM_BYTES = 64 << 10
"""How much of a child's output is read ahead, unless more is asked for."""

LAST_WORDS_SECONDS = 10.0
"""When the group has ended, what it wrote is read for no longer: somebody who has left it may hold the pipes open."""

_LAUNCH = '(trap "" TERM INT HUP; read -r _; kill -s KILL -- "-$$") <"$0" >/dev/null 2>&1 & exec "$@"'
"""The guard: a member of the child's group that waits for the end of the lifeline, then kills the group.

It costs a fork of the shell, and asks nothing of the child: a program of any language is ended in the same way. While
it lives the number of the group cannot be given to another one.
"""


class ProcessGroup:
    """A child in a session, and so a process group, of its own.

    The group ends with its first process: what that one leaves behind is killed. It also ends with this process,
    however that ends.
    """

    def __init__(self, transport: asyncio.SubprocessTransport, streams: _Streams) -> None:
        """For `start`."""
        self._transport = transport
        self._streams = streams
        self.pid = transport.get_pid()
        """The first process, and the number of the group."""

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        stderr: int | None = None,
        limit: int = STREAM_BYTES,
    ) -> ProcessGroup:
        """Start `command`; its stdin and stdout are pipes, its stderr is ours unless `stderr` is `subprocess.PIPE`.

        A line of its output may have `limit` bytes. Raises OSError if there can be no new process. A command that
        cannot be executed ends with code 126 or 127, as in a shell.
        """
        loop = asyncio.get_running_loop()
        lifeline = _lifeline()
        starting = asyncio.ensure_future(
            loop.subprocess_exec(
                lambda: _Streams(limit, loop),
                "/bin/sh",
                "-c",
                _LAUNCH,
                f"/dev/fd/{lifeline}",
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=None if environment is None else dict(environment),
                cwd=folder,
                start_new_session=True,
                pass_fds=(lifeline,),
            )
        )
        try:
            return cls(*await asyncio.shield(starting))
        except asyncio.CancelledError:
            # It may exist already, and nobody would know of it.
            with contextlib.suppress(OSError):
                await cls(*await starting).abandon()
            raise

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """Where the child reads."""
        assert self._streams.stdin is not None
        return self._streams.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        """What the child writes; it ends when the group has ended."""
        assert self._streams.stdout is not None
        return self._streams.stdout

    @property
    def stderr(self) -> asyncio.StreamReader:
        """What the child complains of, if that was asked for."""
        assert self._streams.stderr is not None
        return self._streams.stderr

    @property
    def has_ended(self) -> bool:
        """Whether the first process has."""
        return self._streams.exited.is_set()

    async def wait(self) -> int:
        """The exit code of the first process, negative for a signal."""
        await self._streams.exited.wait()
        return self._streams.code

    async def end(self, *, within: float) -> int:
        """Its exit code, once it has ended by itself or, after so many seconds, by SIGKILL."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                return await self.wait()
        self.kill()
        return await self.wait()

    def terminate(self) -> None:
        """Send SIGTERM to all of the group."""
        self._streams.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End all of the group at once."""
        self._streams.signal(signal.SIGKILL)

    def close(self) -> None:
        """End all of the group, and let go of what it has written and nobody has read."""
        self.kill()
        self._streams.forget()
        self._transport.close()

    async def abandon(self) -> None:
        """Close it, and wait for its end, which cannot be long."""
        self.close()
        await self.wait()

    async def until(self, ending: asyncio.Task[Ending], *, tell: Callable[[], None], grace: float) -> Ending:
        """What `ending` comes to. If this call is cancelled, the child is told, and killed `grace` seconds later."""
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError:
            tell()
            done, _ = await asyncio.wait([ending], timeout=grace)
            if not done:
                self.kill()
                await asyncio.wait([ending])
        return ending.result()


class ProcessExitedError(Exception):
    """A handler's process has ended without an outcome; the message says how."""

    def __init__(self, code: int) -> None:
        super().__init__(f"The handler's process {told_exit(code)} without an outcome.")


def told_exit(code: int) -> str:
    """An exit code in words, like "ended with exit code 3" or "was ended by SIGSEGV"."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class _Streams(asyncio.subprocess.SubprocessStreamProtocol):
    """The child's pipes as streams, and its exit, which does not wait for the pipes to be closed."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit, loop)
        self.exited = asyncio.Event()
        self.code = 0
        self._process: asyncio.SubprocessTransport | None = None
        self._loop = loop
        self._hanging_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # That of uvloop is one in all but name.
        self._process = cast("asyncio.SubprocessTransport", transport)

    def process_exited(self) -> None:
        assert self._process is not None
        code = self._process.get_returncode()
        # The guard, at least, is still there. Without the rest of the group the pipes come to their ends.
        self.signal(signal.SIGKILL)
        super().process_exited()
        self.code = code or 0
        self.exited.set()
        self._hanging_up = self._loop.call_later(LAST_WORDS_SECONDS, self._hang_up)

    def forget(self) -> None:
        """Nobody listens any more."""
        if self._hanging_up is not None:
            self._hanging_up.cancel()

    def _hang_up(self) -> None:
        assert self._process is not None
        for number in (1, 2):
            pipe = self._process.get_pipe_transport(number)
            if pipe is not None:
                pipe.close()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        if not self.exited.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.get_pid(), number)


@functools.cache
def _lifeline() -> int:
    """The reading end of a pipe whose writing end is closed by the end of this process, and by nothing else."""
    reading, _ = os.pipe()
    return reading
