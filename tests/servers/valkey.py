"""A private Valkey (or Redis) server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Protocol, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.ports import free_port
from tests.servers.processes import ServerProcess
from tests.servers.programs import find_valkey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SLOTS = 16_384


class PrivateValkey:
    """A Valkey server on a free loopback port, with its data and its log in `folder`.

    Its port stays the same over restarts. With `appendonly` its data outlives `stop` and `kill`; without, a
    restart begins empty. With `cluster_mode` it is a cluster of one node that owns every slot, so it refuses
    whatever a Redis Cluster refuses, like a script with keys in two slots. `settings` are further lines of
    its configuration, such as `{"maxmemory": "8mb"}`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        appendonly: bool = False,
        cluster_mode: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self._cluster_mode = cluster_mode
        self._data = folder / "data"
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._data),
            "save": "",
            "appendonly": "yes" if appendonly else "no",
        }
        if cluster_mode:
            options |= {
                "cluster-enabled": "yes",
                "cluster-port": str(free_port()),
                "cluster-announce-ip": "127.0.0.1",
            }
        options |= settings or {}
        command = [str(find_valkey())]
        for name, value in options.items():
            command += [f"--{name}", value]
        self._process = ServerProcess("the private Valkey", command, log=folder / "valkey.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Like redis://127.0.0.1:16379."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the server; RuntimeError while it does not run."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server process exists."""
        return self._process.running

    @property
    def log(self) -> Path:
        """The file that holds what the server printed."""
        return self._process.log

    def start(self, *, within: float = 20) -> None:
        """Start it and wait until it answers PING, and in cluster mode until the cluster is in order.

        Raises:
            ServerStartError: not within `within` seconds; the message holds the end of its log.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        self._process.start(ready=self._is_ready, within=within)

    def stop(self) -> None:
        """End it in good order; nothing happens if it does not run."""
        self._process.stop()

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()

    def restart(self) -> None:
        """Stop it in good order and start it again on the same port and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._process.resume()

    def wipe(self) -> None:
        """Delete its data.

        Raises:
            RuntimeError: it is running.
        """
        if self.running:
            raise RuntimeError("stop the private Valkey before wiping its data")
        shutil.rmtree(self._data, ignore_errors=True)

    def _is_ready(self) -> bool:
        client = redis.Redis(
            port=self.port, host="127.0.0.1", protocol=2, socket_timeout=1, retry=Retry(NoBackoff(), 0)
        )
        try:
            client.ping()
            return not self._cluster_mode or _cluster_in_order(client)
        except redis.RedisError:  # refused, or still loading its data
            return False
        finally:
            client.close()


def _cluster_in_order(client: redis.Redis) -> bool:
    """Give this node every slot that it lacks, and say whether the cluster works yet."""
    info = client.cluster("INFO")
    if info["cluster_slots_assigned"] == "0":
        client.cluster("ADDSLOTSRANGE", 0, _SLOTS - 1)
    return bool(info["cluster_state"] == "ok")


class ValkeyFactory(Protocol):
    """What the fixture `valkey_factory` gives: each call starts one more server, stopped after the test."""

    def __call__(
        self,
        *,
        appendonly: bool = False,
        cluster_mode: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> PrivateValkey: ...
