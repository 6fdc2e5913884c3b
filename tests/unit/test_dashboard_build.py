"""The built page that is checked in is the one that its sources give. No Node.js is needed to see that."""

from __future__ import annotations

import subprocess
import sys

from tests.documents import ROOT

PAGE = ROOT / "gateway_service" / "http" / "static"


def test_the_built_page_is_made_of_the_sources_beside_it() -> None:
    script = ROOT / "scripts" / "build_dashboard.py"
    looked = subprocess.run([sys.executable, str(script), "--digests"], capture_output=True, text=True, check=False)
    assert looked.returncode == 0, looked.stdout + looked.stderr


def test_the_built_page_asks_nothing_of_other_machines_and_holds_no_inline_code() -> None:
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert "style" not in page.replace("stylesheet", "")
    assert all(" src=" in tag for tag in page.split("<script")[1:])
