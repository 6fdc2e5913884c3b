"""The built page that is checked in is the one that its sources give. No Node.js is needed to see that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.documents import ROOT

PAGE = ROOT / "gateway_service" / "http" / "static"


NO_NODE = 2
"""The exit status where the page cannot be built, for want of a Node.js that is new enough."""


def _script(option: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "build_dashboard.py"), option]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_built_page_is_made_of_the_sources_beside_it() -> None:
    looked = _script("--digests")
    assert looked.returncode == 0, looked.stdout + looked.stderr


def test_the_built_page_asks_nothing_of_other_machines_and_holds_no_inline_code() -> None:
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert "style" not in page.replace("stylesheet", "")
    assert all(" src=" in tag for tag in page.split("<script")[1:])


@pytest.mark.soak
def test_a_rebuild_gives_the_same_bytes() -> None:
    built = _script("--check")
    if built.returncode == NO_NODE:
        pytest.skip(built.stderr)
    assert built.returncode == 0, built.stdout + built.stderr
