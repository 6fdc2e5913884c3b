"""Build the page of ``dashboard/`` into ``gateway_service/http/static/``, or check that it is fresh.

    python scripts/build_dashboard.py            check the types, run the page's own tests, build
    python scripts/build_dashboard.py --check    build elsewhere and say what differs; exit 1 if anything does
    python scripts/build_dashboard.py --digests  look without Node.js whether anything has changed since; exit 1 if so

The first two need Node.js 20.19 or newer with npm. The built files are checked in, so that nobody who installs or
changes the services needs Node.js; ``dashboard/built-from.txt`` says by two digests what they were made of.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "dashboard"
PAGE = ROOT / "gateway_service" / "http" / "static"
BUILT_FROM = SOURCES / "built-from.txt"

# What decides how the page comes out; its tests do not.
_INPUTS = ("src", "public", "index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")
_OLDEST_NODE = (20, 19)


class DashboardError(Exception):
    """The page cannot be built; the message says why and what to do."""


def main() -> int:
    """Do what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description="Build the dashboard, or check that it is fresh.")
    parser.add_argument("--check", action="store_true", help="build elsewhere and compare")
    parser.add_argument("--digests", action="store_true", help="look whether anything has changed since")
    options = parser.parse_args()
    if options.digests:
        return _report([] if BUILT_FROM.read_text(encoding="ascii") == digests() else ["index.html"])
    try:
        install()
        if options.check:
            return _report(differences())
        _run("npm", "run", "--silent", "check")
        _run("npm", "run", "--silent", "test")
        build(PAGE)
        BUILT_FROM.write_text(digests(), encoding="ascii")
    except DashboardError as error:
        print(f"build_dashboard: {error}", file=sys.stderr)
        return 2
    return 0


def install() -> None:
    """Install what the lock names, unless it is there already."""
    _need_node()
    lock = SOURCES / "package-lock.json"
    installed = SOURCES / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        _run("npm", "ci", "--silent")
        installed.touch()


def build(folder: Path) -> None:
    """Build the page into `folder`, replacing what is there."""
    _run("npm", "run", "--silent", "build", "--", "--outDir", str(folder), "--emptyOutDir", "--logLevel", "warn")


def differences() -> list[str]:
    """The files of a fresh build that are not byte for byte those that are checked in, and the other way round."""
    with tempfile.TemporaryDirectory() as scratch:
        build(Path(scratch, "page"))
        fresh, kept = _contents(Path(scratch, "page")), _contents(PAGE)
    return sorted(name for name in fresh.keys() | kept.keys() if fresh.get(name) != kept.get(name))


def digests() -> str:
    """What `dashboard/built-from.txt` should say: a digest of the sources, and one of the page."""
    sources = [path for name in _INPUTS for path in _files(SOURCES / name)]
    return f"sources {_digest(sources, SOURCES)}\npage    {_digest(_files(PAGE), PAGE)}\n"


def _digest(paths: list[Path], folder: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files(folder)}


def _report(different: list[str]) -> int:
    for name in different:
        print(f"{PAGE.relative_to(ROOT) / name} is not what the sources give: run `make dashboard`")
    return 1 if different else 0


def _need_node() -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise DashboardError("building the page needs Node.js 20.19 or newer with npm, and they are not on PATH")
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607
    if tuple(int(part) for part in said.removeprefix("v").split(".")[:2]) < _OLDEST_NODE:
        raise DashboardError(f"building the page needs Node.js 20.19 or newer; this is {said}")


def _run(*command: str) -> None:
    if subprocess.run(command, cwd=SOURCES, check=False).returncode:
        raise DashboardError(f"`{' '.join(command)}` failed in dashboard/")


if __name__ == "__main__":
    sys.exit(main())
