"""A private RabbitMQ node, and where its program comes from."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from typing import TYPE_CHECKING, Protocol, Self

from tests.servers.amqp_login import accepts_clients, listens
from tests.servers.ports import free_port
from tests.servers.processes import ServerProcess, wait_until
from tests.servers.programs import ensure_rabbitmq, find_epmd

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LOOPBACK_ONLY = "-kernel inet_dist_use_interface {127,0,0,1}"


class PrivateRabbitMQ:
    """A RabbitMQ node on a free loopback port, with a name, a cookie, data and logs of its own in `folder`.

    Nothing of a RabbitMQ that the system may run is read, reached or changed. Name, port and data stay the
    same over restarts. `settings` are further lines of its configuration, such as
    `{"channel_max": "100"}`. The node brings its own port mapper (epmd), which ends with it.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.node = f"taskcast-{secrets.token_hex(4)}@localhost"
        self._server = ensure_rabbitmq()
        self._data = folder / "data"
        self._epmd_port = free_port()
        self._configuration = {
            "listeners.tcp.default": f"127.0.0.1:{self.port}",
            "log.console": "true",
            "log.console.use_colors": "off",
            "log.file": "false",
            **(settings or {}),
        }
        self._environment = self._private_environment()
        self._epmd = ServerProcess(
            "the private epmd",
            [str(find_epmd()), "-port", str(self._epmd_port), "-address", "127.0.0.1"],
            log=folder / "epmd.log",
            environment=self._environment,
        )
        self._process = ServerProcess(
            "the private RabbitMQ",
            [str(self._server)],
            log=folder / "rabbitmq.log",
            environment=self._environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Like amqp://guest:guest@127.0.0.1:15672/."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        """The process id of the node's Erlang machine; RuntimeError while it does not run."""
        return self._process.pid

    @property
    def epmd_pid(self) -> int:
        """The process id of its port mapper; RuntimeError while it does not run."""
        return self._epmd.pid

    @property
    def running(self) -> bool:
        """Whether the node's process exists."""
        return self._process.running

    @property
    def log(self) -> Path:
        """The file that holds what the node printed, its log included."""
        return self._process.log

    def start(self, *, within: float = 60) -> None:
        """Start it and wait until a client can log in and open the virtual host: 5 to 10 s.

        Raises:
            ServerStartError: not within `within` seconds; the message holds the end of its log.
        """
        self._write_files()
        self._epmd.start(ready=lambda: listens(self._epmd_port), within=10)
        try:
            self._process.start(ready=lambda: accepts_clients(self.port), within=within)
        except BaseException:
            self._epmd.kill()
            raise

    def stop(self) -> None:
        """End it in good order; nothing happens if it does not run."""
        self._process.stop()
        self._epmd.stop()

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would. Call `wait_until_on_disk` before, if a quorum queue is new."""
        self._process.kill()
        self._epmd.kill()

    def restart(self) -> None:
        """Stop it in good order and start it again under its name, on the same port and data."""
        self.stop()
        self.start()

    def wait_until_on_disk(self, queue: str, *, within: float = 15) -> None:
        """Wait until a quorum queue of the virtual host "/" would survive `kill`: about three seconds.

        Its messages are safe once confirmed, but RabbitMQ writes the name of a new quorum queue to its list
        with a delay. A node killed before that comes back with a queue that has no leader and never will: it
        refuses every message after a minute, and gives none out.

        Raises:
            TimeoutError: it was not there after `within` seconds.
        """
        name = f"%2F_{queue}".encode()

        def listed() -> bool:
            return any(name in file.read_bytes() for file in self._data.glob("*/quorum/*/names.dets"))

        wait_until(listed, within=within, what=f"RabbitMQ to save the name of queue {queue}")

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._process.resume()

    def wipe(self) -> None:
        """Delete its data, as a lost disk would: queues, exchanges, messages.

        Raises:
            RuntimeError: it is running.
        """
        if self.running:
            raise RuntimeError("stop the private RabbitMQ before wiping its data")
        shutil.rmtree(self._data, ignore_errors=True)

    def ctl(self, *arguments: str, within: float = 60) -> str:
        """What `rabbitmqctl` prints when run with `arguments` against this node; it takes about two seconds.

        Raises:
            RuntimeError: it failed; the message holds what it printed.
            subprocess.TimeoutExpired: it took longer than `within` seconds.
        """
        done = subprocess.run(
            [str(self._server.with_name("rabbitmqctl")), "--quiet", "--node", self.node, *arguments],
            env=self._environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)} failed: {done.stdout}{done.stderr}".strip())
        return done.stdout

    def _private_environment(self) -> dict[str, str]:
        """The caller's environment without its RabbitMQ and Erlang settings, and with those of this node."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_SOCKET"))
        }
        home = self.folder / "home"
        return inherited | {
            "HOME": str(home),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # The script then becomes the Erlang machine itself, so that its process id is the node's.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(free_port()),
            # RabbitMQ's default puts idle schedulers to sleep at once; waking them is dear on virtual
            # machines, and makes a start three times as long.
            "RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD": "very_short",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _LOOPBACK_ONLY,
            "RABBITMQ_CTL_ERL_ARGS": _LOOPBACK_ONLY,
            "RABBITMQ_MNESIA_BASE": str(self._data),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self._data / "generated"),
            "RABBITMQ_SCHEMA_DIR": str(self._data / "schema"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            # Named so that those of the system are not read; there need be none.
            "RABBITMQ_CONFIG_FILES": str(home / "conf.d" / "*.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
        }

    def _write_files(self) -> None:
        home = self.folder / "home"
        for folder in (home, self._data, self.folder / "log"):
            folder.mkdir(parents=True, exist_ok=True)
        cookie = home / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(secrets.token_hex(16), encoding="ascii")
            cookie.chmod(0o400)  # Erlang refuses a cookie that others may read
        (home / "enabled_plugins").write_text("[].\n", encoding="ascii")
        (home / "rabbitmq.conf").write_text(
            "".join(f"{name} = {value}\n" for name, value in self._configuration.items()), encoding="utf-8"
        )


class RabbitMQFactory(Protocol):
    """What the fixture `rabbitmq_factory` gives: each call starts one more node, stopped after the test."""

    def __call__(self, *, settings: Mapping[str, str] | None = None) -> PrivateRabbitMQ: ...
