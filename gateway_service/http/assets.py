"""Files held in memory: few, small, and nothing else of the disk within reach."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from starlette.responses import Response

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A page loads nothing from elsewhere and runs nothing that is not a file of ours."""

COMPRESSED = ("text/", "image/svg", "application/json", "application/manifest")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    content: bytes
    compressed: bytes | None
    """None where compression would gain nothing."""
    headers: dict[str, str]

    @classmethod
    def of(cls, content: bytes, kind: str, *, forever: bool = False) -> Self:
        """A file of a media type. `forever`: its name changes with its content, so a client need not ask again."""
        return cls(
            content,
            gzip.compress(content, mtime=0) if kind.startswith(COMPRESSED) else None,
            {
                "Content-Type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
                "Cache-Control": "public, max-age=31536000, immutable" if forever else "no-cache",
                "Content-Security-Policy": PAGE_POLICY,
                "ETag": f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"',
                "Vary": "Accept-Encoding",
            },
        )

    async def respond(self, request: Request) -> Response:
        """The file, or 304 if the client has it."""
        if self.headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self.headers)
        if self.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.compressed, headers={**self.headers, "Content-Encoding": "gzip"})
        return Response(self.content, headers=self.headers)


def load_assets(folder: Path) -> dict[str, Asset]:
    """The files below `folder` by the paths that they are served under; `index.html` also stands for its folder."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            path = f"/{file.relative_to(folder).as_posix()}"
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            # The name of a file below assets/ holds a hash of its content.
            found[path] = asset = Asset.of(file.read_bytes(), kind, forever=path.startswith("/assets/"))
            if file.name == "index.html":
                found[path.removesuffix("index.html")] = asset
    return found
