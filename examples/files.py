"""`files.checksum`: checksums of every file under a folder.

    taskcast submit files.checksum --payload '{"path": "/usr/share/doc"}' --watch

The paths are those of the worker's machine, and whoever may submit tasks may have any file read that the worker
can read: run this handler only for people whom you would give that access.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.fields import BAD_PAYLOAD, check_fields, text_field
from worker_service import TaskContext, TaskFailed, task

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 20
LARGEST = 5
"""So many of the largest files are named in the result."""

SKIPPED = 50
"""So many of the skipped files are named in the result; a path has up to 4 KiB."""

LISTED_PER_REPORT = 1_000


@dataclass(frozen=True, slots=True)
class _File:
    """A file to read: its path below the folder, as the bytes the file system uses, and its size when listed."""

    name: bytes
    path: Path
    size: int


@task("files.checksum", attempt_timeout=6 * 3_600)
def checksum(ctx: TaskContext, payload: Any) -> dict[str, object]:
    r"""Read every regular file under a folder and say what is in it, as a checksum.

    Payload:
        path: a folder, or a single file. Symbolic links below it are not followed.
        algorithm: the name of a hash function of Python's hashlib, `sha256` by default.

    Progress counts bytes. Result:
        files, bytes: how many files were read, and how large they are together.
        algorithm, digest: the checksum of the list of all files, in the order of their names as bytes, with a
            line `<checksum>  <path below the folder>` for each. With sha256 it is what this prints:
            find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
        largest: path, bytes and digest of the five largest files.
        skipped, skipped_count: path and reason of files and folders that could not be read, at most 50, and how
            many there were.
    Raises TaskFailed: BAD_PAYLOAD, PATH_NOT_FOUND, or PATH_NOT_READABLE for what is neither file nor folder or
    may not be read.
    """
    payload = check_fields(payload, {"path", "algorithm"})
    root = Path(text_field(payload, "path"))
    algorithm = _algorithm(text_field(payload, "algorithm", "sha256"))
    skipped: list[dict[str, object]] = []
    files = _list(ctx, root, skipped)
    done, left = 0, sum(file.size for file in files)
    digests: list[tuple[_File, int, str]] = []
    for file in files:
        name = _readable(file.name)
        left -= file.size
        content = hashlib.new(algorithm)
        read = 0
        ctx.progress(completed=done, total=done + file.size + left, message=name)
        try:
            for chunk in _chunks(file.path):
                content.update(chunk)
                read += len(chunk)
                # It may have grown since it was listed.
                ctx.progress(completed=done + read, total=done + max(file.size, read) + left, message=name)
        except OSError as error:
            skipped.append({"path": name, "reason": error.strerror or str(error)})
        else:
            digests.append((file, read, content.hexdigest()))
        done += read
    ctx.progress(percent=100, completed=done, total=done, message=f"{len(digests):,} files read")
    return {
        "files": len(digests),
        "bytes": sum(size for _, size, _ in digests),
        "algorithm": algorithm,
        "digest": _digest_of_list(algorithm, digests),
        "largest": [
            {"path": _readable(file.name), "bytes": size, "digest": digest}
            for file, size, digest in heapq.nlargest(LARGEST, digests, key=lambda each: each[1])
        ],
        "skipped": skipped[:SKIPPED],
        "skipped_count": len(skipped),
    }


def _algorithm(name: str) -> str:
    # The SHAKE functions have no fixed length.
    known = sorted(each for each in hashlib.algorithms_guaranteed if not each.startswith("shake"))
    if name not in known:
        raise TaskFailed(BAD_PAYLOAD, f"payload.algorithm is {name!r}; it must be one of {', '.join(known)}.")
    return name


def _list(ctx: TaskContext, root: Path, skipped: list[dict[str, object]]) -> list[_File]:
    """The regular files under `root` in the order of their names. Raises TaskFailed if `root` will not do."""
    try:
        mode = root.stat().st_mode
        if stat.S_ISREG(mode):
            return [_File(os.fsencode(root.name), root, root.stat().st_size)]
        if not stat.S_ISDIR(mode):
            raise TaskFailed("PATH_NOT_READABLE", f"payload.path is neither a file nor a folder: {root}.")
        os.scandir(root).close()
    except (FileNotFoundError, NotADirectoryError):
        raise TaskFailed("PATH_NOT_FOUND", f"payload.path does not exist on the worker: {root}.") from None
    except OSError as error:
        message = f"payload.path cannot be read by the worker: {root} ({error.strerror})."
        raise TaskFailed("PATH_NOT_READABLE", message) from None
    files: list[_File] = []
    for file in _walk(root, skipped):
        files.append(file)
        if len(files) % LISTED_PER_REPORT == 0:
            ctx.progress(message=f"listing: {len(files):,} files so far")
    return sorted(files, key=lambda file: file.name)


def _walk(root: Path, skipped: list[dict[str, object]]) -> Iterator[_File]:
    def skip(error: OSError) -> None:
        path = Path(os.fsdecode(error.filename))
        skipped.append({"path": _readable(os.fsencode(path.relative_to(root))), "reason": error.strerror})

    for folder, _, names in os.walk(root, onerror=skip):
        for name in names:
            path = Path(folder, name)
            try:
                found = path.lstat()
            except OSError as error:
                skip(error)
                continue
            if stat.S_ISREG(found.st_mode):
                yield _File(os.fsencode(path.relative_to(root)), path, found.st_size)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _digest_of_list(algorithm: str, digests: list[tuple[_File, int, str]]) -> str:
    whole = hashlib.new(algorithm)
    for file, _, digest in digests:
        whole.update(digest.encode() + b"  " + file.name + b"\n")
    return whole.hexdigest()


def _readable(name: bytes) -> str:
    """A name as text. Names are bytes, and JSON holds text only."""
    return name.decode(errors="replace")
