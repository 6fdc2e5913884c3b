"""The project's documents, taken apart: fenced blocks, code spans, links, headings and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ROW = re.compile(r"^\| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """One Markdown file of the project."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The text outside of fenced blocks."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """The contents of the fenced blocks of a language."""
        return [content for name, content in _FENCE.findall(self.text) if name == language]

    def spans(self) -> list[str]:
        """What stands in single backticks, outside of fenced blocks."""
        return _SPAN.findall(self.prose)

    def links(self) -> list[str]:
        """The targets of links."""
        return _LINK.findall(self.prose)

    def anchors(self) -> set[str]:
        """What a link to a heading may name, as GitHub makes it of the headings."""
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(self.prose)}

    def rows(self, columns: int) -> list[list[str]]:
        """The rows of all tables with so many columns, cell by cell."""
        rows = [[cell.strip() for cell in row.split(" | ")] for row in _ROW.findall(self.text)]
        return [row for row in rows if len(row) == columns]


README = Document(ROOT / "README.md")
CONTRIBUTING = Document(ROOT / "CONTRIBUTING.md")
OPERATIONS = Document(ROOT / "docs" / "operations.md")
ARCHITECTURE = Document(ROOT / "docs" / "architecture.md")


def all_documents() -> list[Document]:
    """README, CONTRIBUTING, CHANGELOG and everything below docs/."""
    return [Document(path) for path in [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]]
