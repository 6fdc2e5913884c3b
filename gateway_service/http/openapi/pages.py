"""`/openapi.json` and `/docs`."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

from gateway_service.http.assets import Asset
from gateway_service.http.openapi.document import build_document
from gateway_service.http.openapi.page import render_page

if TYPE_CHECKING:
    from shared.domain.submission import Limits


def description_pages(limits: Limits) -> dict[str, Asset]:
    """The description of the interface by path: for programs and for people."""
    document = build_document(limits)
    return {
        "/openapi.json": Asset.of(json.dumps(document, ensure_ascii=False).encode(), "application/json"),
        "/docs": Asset.of(render_page(document).encode(), "text/html"),
        "/docs.css": Asset.of((files(__package__) / "docs.css").read_bytes(), "text/css"),
    }
