"""The comments of the contract."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files


@cache
def _comments() -> dict[str, str]:
    comments: dict[str, str] = json.loads((files("taskcast.v1") / "comments.json").read_text(encoding="utf-8"))
    return comments


def comment_of(full_name: str) -> str:
    """What stands above a message, field, value or RPC; empty for what is not of the contract."""
    return _comments().get(full_name, "")


def first_sentence(comment: str) -> str:
    """What a comment says first, on one line and without its full stop."""
    paragraph = " ".join(comment.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")
