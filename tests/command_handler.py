"""The behaviour of `tests/handlers_anywhere.py` as a command that knows nothing of Taskcast but its protocol."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn


def say(word: object) -> None:
    print(json.dumps(word), flush=True)


def note(what: str) -> None:
    line = {
        "task_id": os.environ["TASK_ID"],
        "attempt": int(os.environ["TASK_ATTEMPT"]),
        "what": what,
        "pid": os.getpid(),
        "at": time.monotonic(),
    }
    file = os.open(os.environ["TASKCAST_TEST_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


def stopped(_number: int, _frame: object) -> NoReturn:
    note("told")
    sys.exit(143)


def hold(payload: dict[str, Any]) -> None:
    attempt = os.environ["TASK_ATTEMPT"]
    while not (Path(payload["gate"]).exists() or Path(f"{payload['gate']}-{attempt}").exists()):
        time.sleep(0.02)


def main() -> None:  # noqa: C901, PLR0912  # One case a behaviour.
    payload = json.load(sys.stdin)
    count = payload.get("steps", 0)
    for step in range(1, count + 1):
        say({"progress": {"completed": step, "total": count, "message": f"step {step}"}})
    attempt = int(os.environ["TASK_ATTEMPT"])
    result: object = {"attempt": attempt}
    if payload["do"] in {"hold", "ignore"}:
        signal.signal(signal.SIGTERM, stopped if payload["do"] == "hold" else signal.SIG_IGN)
        note("ran")
        say({"progress": {"message": "holding"}})
        hold(payload)
    else:
        note("ran")
    match payload["do"]:
        case "return":
            result = payload.get("value")
        case "see":
            result = {
                "attempt": attempt,
                "labels": json.loads(os.environ["TASK_LABELS"]),
                "deadline": os.environ["TASK_DEADLINE"].replace("T", " ") or "None",
            }
        case "large":
            result = "x" * payload["bytes"]
        case "nan":
            result = float("nan")
        case "fail":
            say({"failed": {"code": "NO_LUCK", "message": "there is nothing to be done"}})
            return
        case "later" if attempt == 1:
            say({"retry": {"after": payload["after"], "message": "not yet"}})
            return
        case "boom":
            raise RuntimeError("boom")
        case "nonsense progress":
            say({"progress": {"percent": 500}})
        case "exit":
            sys.exit(payload["code"])
        case "signal":
            os.kill(os.getpid(), signal.Signals[payload["name"]])
        case "exit once" if attempt == 1:
            sys.exit(3)
        case "print":
            print("words for the log", file=sys.stderr)
        case "raw":
            os.write(1, payload["text"].encode())
            return
        case _:
            pass
    say({"result": result})


if __name__ == "__main__":
    main()
