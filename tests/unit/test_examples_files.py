from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from examples.files import LARGEST, SKIPPED, checksum
from tests.unit.handler_context import make_context
from worker_service import TaskCancelled, TaskFailed
from worker_service.context import Interruption

if TYPE_CHECKING:
    from collections.abc import Iterator


def run(payload: Any) -> dict[str, Any]:
    ctx, _ = make_context()
    result: dict[str, Any] = checksum(ctx, payload)
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree with names that sort differently as text, as bytes and by folder."""
    root = tmp_path / "tree"
    contents = {
        "b.txt": b"bee",
        "a/z.bin": random.Random(1).randbytes(3_000_000),
        "a/empty": b"",
        "a-b.txt": b"dash sorts before slash",
        "Ä.txt": "äöü".encode(),
        "a/deep/er/still": b"still",
    }
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def test_the_digest_is_what_the_documented_shell_line_prints(folder: Path) -> None:
    for tool in ("find", "sort", "xargs", "sha256sum"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    line = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    printed = subprocess.run(["/bin/sh", "-c", line], cwd=folder, check=True, capture_output=True, text=True)
    result = run({"path": str(folder)})
    assert result["digest"] == printed.stdout.split()[0]
    assert (result["files"], result["skipped"], result["skipped_count"]) == (6, [], 0)
    assert result["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_largest_files_are_named(folder: Path) -> None:
    largest = run({"path": str(folder)})["largest"]
    assert largest[0]["path"] == "a/z.bin"
    assert largest[0]["bytes"] == 3_000_000
    assert largest[0]["digest"] == hashlib.sha256((folder / "a/z.bin").read_bytes()).hexdigest()
    assert [each["bytes"] for each in largest] == sorted((each["bytes"] for each in largest), reverse=True)


def test_progress_counts_bytes_and_ends_at_100(folder: Path) -> None:
    ctx, reports = make_context()
    checksum(ctx, {"path": str(folder)})
    counts = [report.completed for report in reports]
    assert counts == sorted(counts)
    assert {report.total for report in reports} == {reports[0].total}
    assert reports[-1].percent == 100
    assert reports[-1].completed == reports[-1].total == reports[0].total
    assert "a/z.bin" in {report.message for report in reports}


def test_a_single_file_is_a_list_of_one(folder: Path) -> None:
    result = run({"path": str(folder / "b.txt"), "algorithm": "md5"})
    digest = hashlib.md5(b"bee").hexdigest()  # noqa: S324  # It was asked for.
    assert result["largest"] == [{"path": "b.txt", "bytes": 3, "digest": digest}]
    assert result["digest"] == hashlib.md5(f"{digest}  b.txt\n".encode()).hexdigest()  # noqa: S324


def test_an_empty_folder_has_a_digest_too(tmp_path: Path) -> None:
    ctx, reports = make_context()
    result = checksum(ctx, {"path": str(tmp_path)})
    assert result["files"] == 0
    assert result["digest"] == hashlib.sha256(b"").hexdigest()
    assert reports[-1].percent == 100


def test_symbolic_links_are_not_followed(folder: Path) -> None:
    before = run({"path": str(folder)})
    (folder / "loop").symlink_to(folder)
    (folder / "link.txt").symlink_to(folder / "b.txt")
    (folder / "dangling").symlink_to("/no/such/file")
    assert run({"path": str(folder)}) == before


def test_what_is_no_regular_file_is_left_alone(folder: Path) -> None:
    before = run({"path": str(folder)})
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        assert run({"path": str(folder)}) == before
    with pytest.raises(TaskFailed, match="neither a file nor a folder"):
        run({"path": str(folder / "pipe")})


@contextlib.contextmanager
def as_nobody_special() -> Iterator[None]:
    """Root may read everything, so be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_listed_and_the_rest_is_read(folder: Path) -> None:
    # Not below tmp_path, which nobody but its owner may enter.
    with tempfile.TemporaryDirectory() as open_to_all:
        root = Path(open_to_all)
        shutil.copytree(folder, root / "tree")
        root.chmod(0o755)
        (root / "tree/b.txt").chmod(0)
        (root / "tree/a/deep").chmod(0)
        (root / "shut").mkdir(mode=0)
        with as_nobody_special():
            result = run({"path": str(root / "tree")})
            with pytest.raises(TaskFailed) as caught:
                run({"path": str(root / "shut")})
        (root / "tree/a/deep").chmod(0o755)
        (root / "shut").chmod(0o755)
    assert result["files"] == 4
    assert {each["path"]: each["reason"] for each in result["skipped"]} == {
        "b.txt": "Permission denied",
        "a/deep": "Permission denied",
    }
    assert caught.value.code == "PATH_NOT_READABLE"


def test_a_file_that_vanishes_is_listed_and_the_rest_is_read(folder: Path) -> None:
    ctx, reports = make_context()
    append = reports.append

    def vanish(report: Any) -> None:
        append(report)
        (folder / "b.txt").unlink(missing_ok=True)

    ctx._report = vanish
    result: dict[str, Any] = checksum(ctx, {"path": str(folder)})
    assert result["files"] == 5
    assert result["skipped"] == [{"path": "b.txt", "reason": "No such file or directory"}]
    assert reports[-1].percent == 100


def test_a_file_that_grows_does_not_break_the_progress(folder: Path) -> None:
    ctx, reports = make_context()
    append = reports.append
    grown = False

    def grow(report: Any) -> None:
        nonlocal grown
        append(report)
        if not grown and report.message == "a/z.bin":
            grown = True
            with (folder / "a/z.bin").open("ab") as file:
                file.write(b"x" * 2_000_000)

    ctx._report = grow
    result: dict[str, Any] = checksum(ctx, {"path": str(folder)})
    assert result["largest"][0]["bytes"] == 5_000_000
    assert all(report.completed <= report.total for report in reports)


def test_names_that_are_no_text_are_shown_with_replacements(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"broken-\xff.txt")).write_bytes(b"x")
    result = run({"path": str(tmp_path)})
    assert result["largest"][0]["path"] == "broken-\N{REPLACEMENT CHARACTER}.txt"
    json.dumps(result).encode()


def test_the_result_stays_small_however_many_files_there_are(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number:03}-{'x' * 200}").write_bytes(b"x" * number)
    result = run({"path": str(tmp_path)})
    assert len(result["largest"]) == LARGEST
    assert len(json.dumps(result)) < 10_000
    assert SKIPPED * 4_200 + LARGEST * 4_200 < 1 << 19


def test_a_cancelled_task_stops_reading(folder: Path) -> None:
    ctx, _ = make_context()
    ctx.interrupt(Interruption.ENDED)
    raised: list[BaseException] = []

    def in_a_thread() -> None:
        try:
            checksum(ctx, {"path": str(folder)})
        except TaskCancelled as error:
            raised.append(error)

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join(10)
    assert len(raised) == 1


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        (None, "BAD_PAYLOAD", "payload.path must be text"),
        ("/tmp", "BAD_PAYLOAD", "must be an object"),  # noqa: S108
        ({"path": ""}, "BAD_PAYLOAD", "payload.path"),
        ({"path": 3}, "BAD_PAYLOAD", "payload.path"),
        ({"path": "a\0b"}, "BAD_PAYLOAD", "payload.path"),
        ({"path": ".", "algorithm": "crc32"}, "BAD_PAYLOAD", "payload.algorithm is 'crc32'"),
        ({"path": ".", "algorithm": "shake_128"}, "BAD_PAYLOAD", "payload.algorithm"),
        ({"path": ".", "recursive": True}, "BAD_PAYLOAD", "payload.recursive is not known"),
        ({"path": "/no/such/folder"}, "PATH_NOT_FOUND", "/no/such/folder"),
    ],
)
def test_a_payload_that_will_not_do_fails_with_a_code_and_a_sentence(payload: Any, code: str, words: str) -> None:
    with pytest.raises(TaskFailed) as caught:
        run(payload)
    assert caught.value.code == code
    assert words in caught.value.message
