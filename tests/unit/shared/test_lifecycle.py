"""How a service stops and is kept alive: with real processes and real signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from shared import lifecycle
from shared.lifecycle import repeat, stop_all
from shared.ports import StoreUnavailableError
from tests.deadlines import eventually, eventually_async

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Protocol

    class Supervise(Protocol):
        def __call__(self, count: int, *, pause: float = ...) -> Supervised: ...


# A child says that it was born and sleeps on. It knows its folder from the environment that the supervisor adds.
SUPERVISOR = """
import sys
from shared import lifecycle
folder, count, pause = sys.argv[1:]
lifecycle.RESTART_PAUSE_SECONDS = float(pause)
child = ["/bin/sh", "-c", 'echo $$ >> "$FOLDER/born"; exec sleep 600']
lifecycle.Supervisor(child, int(count), {"FOLDER": folder}).run()
"""

SERVICE = """
import asyncio
from shared import lifecycle
async def main(stopping):
    print("up", flush=True)
    await stopping.wait()
    await asyncio.sleep(0)
    print("stopped in good order", flush=True)
lifecycle.run(main)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Supervised:
    """A supervisor in a process of its own, and its children as far as they said that they were born."""

    def __init__(self, folder: Path, count: int, pause: float) -> None:
        self.folder = folder
        self.log = folder / "log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SUPERVISOR, str(folder), str(count), str(pause)],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def born(self) -> list[int]:
        try:
            return [int(line) for line in (self.folder / "born").read_text().splitlines()]
        except FileNotFoundError:
            return []

    @property
    def living(self) -> list[int]:
        return [pid for pid in self.born if alive(pid)]

    def wait_for(self, count: int) -> list[int]:
        return eventually(
            lambda: self.living if len(self.living) == count else [], within=10, what=f"{count} living children"
        )

    def told(self, number: signal.Signals) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(timeout=10)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    started: list[Supervised] = []

    def start(count: int, *, pause: float = 0.1) -> Supervised:
        started.append(Supervised(tmp_path, count, pause))
        return started[-1]

    yield start
    for supervised in started:
        supervised.process.kill()
        supervised.process.wait()
        for pid in supervised.living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_the_supervisor_and_every_child(number: signal.Signals, supervise: Supervise) -> None:
    supervised = supervise(3)
    supervised.wait_for(3)
    assert supervised.told(number) == 0
    assert supervised.living == []


def test_a_child_that_dies_is_started_again_and_the_others_are_left_alone(supervise: Supervise) -> None:
    supervised = supervise(2)
    first, second = supervised.wait_for(2)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(supervised.born) == 3, within=10, what="another child")
    assert second in supervised.wait_for(2)
    assert "child.ended" in supervised.log.read_text()
    assert supervised.told(signal.SIGTERM) == 0
    assert supervised.living == []


def test_a_child_that_is_about_to_be_started_again_when_the_stop_comes_stays_dead(supervise: Supervise) -> None:
    supervised = supervise(1, pause=1.0)
    (only,) = supervised.wait_for(1)
    os.kill(only, signal.SIGKILL)
    eventually(lambda: "child.ended" in supervised.log.read_text(), within=10, what="the death to be noticed")
    assert supervised.told(signal.SIGTERM) == 0
    assert supervised.living == []


def test_a_stop_that_comes_while_children_are_started_leaves_none_behind(supervise: Supervise) -> None:
    supervised = supervise(40)
    eventually(lambda: supervised.born, within=10, what="the first child")
    assert supervised.told(signal.SIGTERM) == 0
    eventually(lambda: not supervised.living, within=5, what="every child to end")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_told_to_stop_stops_in_good_order(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.stdout.read() == "stopped in good order\n"
        assert process.wait(timeout=10) == 0


# --- Background jobs -----------------------------------------------------------------------------------------------


async def test_a_step_is_repeated_though_it_fails_and_the_trouble_is_told_once_each_time_it_begins() -> None:
    outcomes = iter([None, StoreUnavailableError("away"), StoreUnavailableError("away"), None, ValueError("odd")])
    steps = 0

    async def step() -> None:
        nonlocal steps
        steps += 1
        trouble = next(outcomes, None)
        if trouble is not None:
            raise trouble

    async def seven() -> bool:
        return steps >= 7

    with capture_logs() as logs:
        job = asyncio.create_task(repeat("job", 0.001, step))
        await eventually_async(seven, within=5, what="seven steps")
        await stop_all([job])
    assert [(line["job"], line["error"], line["exc_info"]) for line in logs] == [
        ("job", "away", False),
        ("job", "odd", True),
    ]
    assert job.cancelled()


async def test_stopping_waits_until_every_job_has_cleaned_up() -> None:
    cleaned: list[int] = []

    async def job(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(number)

    jobs = [asyncio.create_task(job(number)) for number in range(3)]
    await asyncio.sleep(0)
    await stop_all(jobs)
    assert cleaned == [0, 1, 2]


async def test_a_task_that_loses_its_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "TOLD_AGAIN_SECONDS", 0.05)
    told = 0

    async def forgetful() -> None:
        nonlocal told
        while told < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told += 1

    job = asyncio.create_task(forgetful())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stop_all([job])
    assert told == 2
