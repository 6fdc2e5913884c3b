"""Generate the typed Python stubs of the contract into ``taskcast/v1/``, or check that they are fresh.

    python scripts/generate_stubs.py                  write the stubs
    python scripts/generate_stubs.py --check          say which are stale; exit 1 if any is
    python scripts/generate_stubs.py --imports        make ready for `buf lint`
    python scripts/generate_stubs.py --baseline main  and for `buf breaking --against build/buf/baseline`

The messages of a ``.proto`` file become one module, its services another, each with its ``.pyi``. They depend
on nothing but the contract and the versions of grpcio-tools and mypy-protobuf. The comments, which descriptors
do not keep, become ``comments.json``: full names and what stands above them. ``buf`` looks for what the
contract imports in ``build/buf/``, which this script fills and git ignores.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import distribution
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2
from grpc_tools import protoc  # type: ignore[import-untyped]  # nobody has typed it

if TYPE_CHECKING:
    from google.protobuf.message import Message

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
STUBS = Path("taskcast", "v1")
COMMENTS = STUBS / "comments.json"
BUILD = ROOT / "build" / "buf"
# Where buf.yaml says that the imports are, in the checkout and in a baseline alike.
IMPORTS = Path("build", "buf", "imports")

_IMPORT = re.compile(r'^import\s+(?:public\s+)?"([^"]+)"\s*;', re.MULTILINE)
_SERVICE = re.compile(r"^service\s", re.MULTILINE)
_STREAMING_RPC = re.compile(r"\breturns\s*\(\s*stream\s")
# What mypy-protobuf says that a servicer's streaming method returns.
_STREAM_RESULT = re.compile(r"-> (\w+)\.Union\[(\w+)\.Iterator\[([\w.]+)\], \2\.AsyncIterator\[\3\]\]:")


class StubsError(Exception):
    """The stubs cannot be made; the message says why and what to do."""


def main() -> int:
    """Do what the command line asks; return the exit status."""
    options = _arguments()
    try:
        if options.imports:
            copy_imports(PROTOS, ROOT / IMPORTS)
            _keep_out_of_git(BUILD)
        elif options.baseline is not None:
            extract_baseline(options.baseline, BUILD / "baseline")
            _keep_out_of_git(BUILD)
        elif options.check:
            return _report(stale_stubs())
        else:
            _write(generate())
    except StubsError as error:
        print(f"generate_stubs: {error}", file=sys.stderr)
        return 2
    return 0


def generate() -> dict[Path, bytes]:
    """Return the content of every stub by its path from the root of the project."""
    with tempfile.TemporaryDirectory() as scratch:
        imports, out = Path(scratch, "imports"), Path(scratch, "out")
        out.mkdir()
        copy_imports(PROTOS, imports)
        _compile(imports, out)
        stubs = {path.relative_to(out): _finished(path, out) for path in sorted(out.rglob("*.py*"))}
        described = descriptor_pb2.FileDescriptorSet.FromString((out / "contract.binpb").read_bytes())
        return {**stubs, COMMENTS: _comments_of(described)}


def stale_stubs() -> dict[Path, str]:
    """Return the stubs that differ from what the contract gives, each with what is wrong with it."""
    fresh = generate()
    stale = {path: "no longer made from any .proto file" for path in _present() if path not in fresh}
    for path, content in fresh.items():
        target = ROOT / path
        if not target.exists():
            stale[path] = "missing"
        elif target.read_bytes() != content:
            stale[path] = "differs from the contract"
    return dict(sorted(stale.items()))


def copy_imports(protos: Path, target: Path) -> None:
    """Copy into ``target`` what the contract imports from googleapis-common-protos, and no more.

    The well-known types are left out: protoc and buf bring their own.
    """
    package = distribution("googleapis-common-protos")
    wanted = [name for path in protos.rglob("*.proto") for name in _imports_of(path)]
    done: set[str] = set()
    shutil.rmtree(target, ignore_errors=True)
    while wanted:
        name = wanted.pop()
        if name in done or name.startswith("google/protobuf/") or (protos / name).exists():
            continue
        source = Path(str(package.locate_file(name)))
        if not source.exists():
            raise StubsError(f"{name} is imported, but neither in protos/ nor in googleapis-common-protos")
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        done.add(name)
        wanted.extend(_imports_of(source))


def extract_baseline(ref: str, target: Path) -> None:
    """Lay out the contract as it is at the git ``ref`` in ``target``, together with its imports.

    buf cannot read it from git by itself, since the imports are not kept there.
    """
    archive = subprocess.run(
        ["git", "archive", "--format=zip", ref, "--", "buf.yaml", "protos"],  # noqa: S607 - git is where PATH says
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if archive.returncode != 0:
        reason = archive.stderr.decode(errors="replace").strip()
        raise StubsError(f"there is no contract at {ref} to compare with: {reason}")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(archive.stdout)) as contract:
        contract.extractall(target)
    copy_imports(target / "protos", target / IMPORTS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Generate the Python stubs of protos/ into taskcast/v1/.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; name stale stubs and exit 1")
    mode.add_argument("--imports", action="store_true", help="copy what protos/ imports to where buf looks")
    mode.add_argument("--baseline", metavar="REF", help="lay out the contract of a git ref for buf breaking")
    return parser.parse_args()


def _compile(imports: Path, out: Path) -> None:
    contract = sorted(PROTOS.rglob("*.proto"))
    described = (f"--descriptor_set_out={out / 'contract.binpb'}", "--include_source_info")
    _protoc(contract, imports, f"--python_out={out}", _mypy_plugin("mypy"), f"--mypy_out=quiet:{out}", *described)
    services = [path for path in contract if _SERVICE.search(path.read_text(encoding="utf-8"))]
    grpc_outputs = (f"--grpc_python_out={out}", _mypy_plugin("mypy_grpc"), f"--mypy_grpc_out=quiet:{out}")
    _protoc(services, imports, *grpc_outputs)


def _protoc(contract: list[Path], imports: Path, *outputs: str) -> None:
    with as_file(files("grpc_tools") / "_proto") as well_known:
        sources = [f"--proto_path={folder}" for folder in (PROTOS, imports, well_known)]
        names = [path.relative_to(PROTOS).as_posix() for path in contract]
        if protoc.main(["protoc", *sources, *outputs, *names]) != 0:
            raise StubsError("protoc refused the contract; what it says is above")


def _mypy_plugin(name: str) -> str:
    """Find a plugin beside the interpreter, so that a virtual environment need not be on PATH."""
    program = f"protoc-gen-{name}"
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    if found is None:
        raise StubsError(f"{program} is not beside {sys.executable}: install mypy-protobuf there")
    return f"--plugin={program}={found}"


def _finished(path: Path, out: Path) -> bytes:
    """Return what protoc wrote, with the one form of streaming method that mypy-protobuf does not know."""
    text = path.read_text(encoding="utf-8")
    if not path.name.endswith("_pb2_grpc.pyi"):
        return text.encode()
    # grpc.aio also takes a coroutine that sends by `await context.write(...)` and returns nothing.
    text, widened = _STREAM_RESULT.subn(
        r"-> \1.Union[\2.Iterator[\3], \2.AsyncIterator[\3], \2.Awaitable[None]]:", text
    )
    proto = PROTOS / path.relative_to(out).with_name(path.name.replace("_pb2_grpc.pyi", ".proto"))
    streams = len(_STREAMING_RPC.findall(proto.read_text(encoding="utf-8")))
    if widened != streams:
        raise StubsError(
            f"{proto.name} has {streams} streaming rpcs, but mypy-protobuf's stub shows {widened}:"
            " its form has changed, so _STREAM_RESULT has to follow"
        )
    return text.encode()


def _comments_of(described: descriptor_pb2.FileDescriptorSet) -> bytes:
    """Return what stands above each message, field, enum, value, service and method, by its full name."""
    comments = {}
    for file in described.file:
        for location in file.source_code_info.location:
            if location.leading_comments and (name := _name_at(file, list(location.path))):
                lines = location.leading_comments.rstrip().split("\n")
                comments[f"{file.package}.{name}"] = "\n".join(line.removeprefix(" ").rstrip() for line in lines)
    return (json.dumps(comments, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _name_at(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """Return the name, below the package, of what a path of source info leads to; empty for what has none."""
    at: Message = file
    names = []
    while path:
        field = at.DESCRIPTOR.fields_by_number[path.pop(0)]
        if not path or not field.is_repeated:
            return ""
        at = getattr(at, field.name)[path.pop(0)]
        names.append(getattr(at, "name", ""))
    return ".".join(names)


def _imports_of(proto: Path) -> list[str]:
    return _IMPORT.findall(proto.read_text(encoding="utf-8"))


def _present() -> list[Path]:
    made = [*(ROOT / STUBS).glob("*_pb2*.py*"), *(ROOT / STUBS).glob("comments.json")]
    return sorted(path.relative_to(ROOT) for path in made)


def _write(stubs: dict[Path, bytes]) -> None:
    for path in _present():
        if path not in stubs:
            (ROOT / path).unlink()
    for path, content in stubs.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_bytes(content)
    print(f"{len(stubs)} stubs are in {STUBS.as_posix()}/")


def _report(stale: dict[Path, str]) -> int:
    for path, wrong in stale.items():
        print(f"{path.as_posix()}: {wrong}")
    if stale:
        print("Run: python scripts/generate_stubs.py")
        return 1
    print("The stubs are fresh.")
    return 0


def _keep_out_of_git(folder: Path) -> None:
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
