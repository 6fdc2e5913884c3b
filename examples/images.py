"""`image.thumbnail`: small copies of pictures, with Pillow.

    taskcast submit image.thumbnail --watch --payload \
        '{"source": "holiday.jpg", "target": "small.webp", "size": [320, 320]}'

The paths are those of the worker's machine, and whoever may submit tasks may have any file written that the
worker can write: run this handler only for people whom you would give that access.
"""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from examples.fields import BAD_PAYLOAD, check_fields, text_field
from worker_service import TaskContext, TaskFailed, task

LARGEST_SIDE = 10_000
MOST_PICTURES = 1_000
"""So many pictures of a folder are made; the result names them all, and must stay below 1 MiB."""

FORMATS = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""What is read and written. Pillow knows more, some of it by programs that pictures from strangers should not reach."""

_WITHOUT_TRANSPARENCY = frozenset({"JPEG", "BMP"})

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow's readers raise over files that are damaged, or no pictures."""

Size = tuple[int, int]


class _BrokenImageError(Exception):
    """A picture that cannot be read; the message says why."""


@task("image.thumbnail", attempt_timeout=1_800)
def thumbnail(ctx: TaskContext, payload: Any) -> dict[str, object]:
    """Make a picture, or each picture in a folder, fit a size.

    Payload:
        source: a picture, or a folder with pictures; folders within it are left alone.
        target: where the small picture goes, its format told by the ending; for a folder a folder, which may be
            missing. What is there is replaced.
        size: [width, height] in pixels, the most that either may have; proportions are kept, and small pictures
            are not enlarged.

    Progress counts pictures. Result for one picture: source, target, format, size, original_size, bytes.
    For a folder: made and failed, how many; `pictures`, with the same fields for each, or source and error for
    a broken one.
    Raises TaskFailed: BAD_PAYLOAD, SOURCE_NOT_FOUND, SOURCE_NOT_READABLE, BROKEN_IMAGE (a single picture that
    cannot be read), or TARGET_NOT_WRITABLE.
    """
    payload = check_fields(payload, {"source", "target", "size"})
    source, target = Path(text_field(payload, "source")), Path(text_field(payload, "target"))
    size = _size(payload.get("size"))
    try:
        pictures = _pictures(source) if source.is_dir() else None
        source.stat()
    except FileNotFoundError:
        raise TaskFailed("SOURCE_NOT_FOUND", f"payload.source does not exist on the worker: {source}.") from None
    except OSError as error:
        message = f"payload.source cannot be read by the worker: {source} ({error.strerror})."
        raise TaskFailed("SOURCE_NOT_READABLE", message) from None
    if pictures is None:
        return _make_one(ctx, source, target, size)
    return _make_all(ctx, source, pictures, target, size)


def _make_one(ctx: TaskContext, source: Path, target: Path, size: Size) -> dict[str, object]:
    if target.is_dir():
        target /= source.name
    if target.suffix.lower() not in FORMATS:
        raise TaskFailed(BAD_PAYLOAD, f"payload.target must end in one of {', '.join(FORMATS)}: {target.name}.")
    if target.exists() and target.samefile(source):
        raise TaskFailed(BAD_PAYLOAD, "payload.target must not be the source.")
    name = _readable(source.name)
    ctx.progress(completed=0, total=1, message=name)
    try:
        made = _make(source, target, size)
    except _BrokenImageError as error:
        raise TaskFailed("BROKEN_IMAGE", f"{name} cannot be read as a picture: {error}.") from error
    ctx.progress(completed=1, total=1, message=name)
    return {**made, "target": _readable(str(target))}


def _make_all(ctx: TaskContext, source: Path, pictures: list[Path], target: Path, size: Size) -> dict[str, object]:
    if target.exists() and (not target.is_dir() or target.samefile(source)):
        raise TaskFailed(BAD_PAYLOAD, "payload.target must be another folder, as payload.source is one.")
    items: list[dict[str, object]] = []
    failed = 0
    for number, path in enumerate(pictures):
        ctx.progress(completed=number, total=len(pictures), message=_readable(path.name))
        try:
            items.append(_make(path, target / path.name, size))
        except _BrokenImageError as error:
            failed += 1
            items.append({"source": _readable(path.name), "error": str(error)})
    ctx.progress(percent=100, completed=len(pictures), total=len(pictures), message="all done")
    return {"made": len(pictures) - failed, "failed": failed, "pictures": items}


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a folder, by name. Raises TaskFailed if there are too many."""
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in FORMATS and path.is_file())
    if len(pictures) > MOST_PICTURES:
        message = f"payload.source has {len(pictures):,} pictures; one task makes at most {MOST_PICTURES:,}."
        raise TaskFailed(BAD_PAYLOAD, message)
    return pictures


def _size(value: Any) -> Size:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(side, int) and not isinstance(side, bool) for side in value)
        or not all(1 <= side <= LARGEST_SIDE for side in value)
    ):
        raise TaskFailed(BAD_PAYLOAD, f"payload.size must be [width, height], each between 1 and {LARGEST_SIDE}.")
    width, height = value
    return width, height


def _make(source: Path, target: Path, size: Size) -> dict[str, object]:
    """Make one thumbnail. Raises _BrokenImageError, or TaskFailed if it cannot be written."""
    try:
        picture = _read(source)
    except _UNREADABLE as error:
        raise _BrokenImageError(_reason(error)) from error
    original = picture.size
    picture.thumbnail(size, Image.Resampling.LANCZOS)
    format_ = FORMATS[target.suffix.lower()]
    if format_ in _WITHOUT_TRANSPARENCY and picture.mode == "RGBA":
        background = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(background, picture).convert("RGB")
    _save(picture, target, format_)
    return {
        "source": _readable(source.name),
        "target": _readable(target.name),
        "format": format_,
        "size": list(picture.size),
        "original_size": list(original),
        "bytes": target.stat().st_size,
    }


def _read(source: Path) -> Image.Image:
    """A picture the right way up, in RGB or RGBA; of an animation the first frame."""
    with Image.open(source, formats=sorted(set(FORMATS.values()))) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I;16"):
            # Sixteen bits of grey; converted as they are, all but the darkest would be white.
            picture = picture.point(lambda grey: grey / 256).convert("L")
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _save(picture: Image.Image, target: Path, format_: str) -> None:
    """Write the file whole or not at all: the attempt may be killed, and another one may run meanwhile."""
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                picture.save(file, format_)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        message = f"The thumbnail cannot be written to {target}: {error.strerror or error}."
        raise TaskFailed("TARGET_NOT_WRITABLE", message) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is no picture of a known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _readable(name: str) -> str:
    """A name as text that JSON can hold, whatever bytes it has on disk."""
    return os.fsencode(name).decode(errors="replace")
