"""Where deliveries meet free slots, over the in-process broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from shared.adapters.local.broker import LocalBroker
from shared.domain.task import TaskPriority
from tests.deadlines import eventually_async
from worker_service import intake as intake_module
from worker_service.intake import Intake, Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Protocol

    from shared.adapters.local.broker import Line, LocalConsumer
    from shared.ports import Delivery

    class Hire(Protocol):
        async def __call__(self, broker: LocalBroker, *, slots: int, name: str = ..., busy: bool = ...) -> Worker: ...


HIGH, NORMAL, LOW = TaskPriority.HIGH, TaskPriority.NORMAL, TaskPriority.LOW
QUEUE = "default"


class CountingBroker(LocalBroker):
    """The in-process broker; it counts what comes back."""

    returned = 0

    def put(self, line: Line, body: bytes, *, first: bool = False) -> None:
        self.returned += first
        super().put(line, body, first=first)


class Worker:
    """An intake with its consumer, whose handlers run until they are let go."""

    def __init__(self, broker: LocalBroker, *, slots: int, name: str = "worker") -> None:
        self.broker = broker
        self.name = name
        self.ran: list[tuple[TaskPriority, bytes]] = []
        self.running = 0
        self.most_running = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.seconds = 0.0
        self.intake = Intake(self._run, slots=slots)
        self.consumer: LocalConsumer | None = None

    async def attach(self) -> None:
        self.consumer = await self.broker.consume([QUEUE], self.intake.take)
        self.intake.attach(self.consumer)

    async def dismiss(self) -> None:
        self.gate.set()
        await self.intake.stop(5)
        await self.intake.join(5)

    @property
    def takes_more(self) -> bool:
        assert self.consumer is not None
        return self.consumer.is_consuming

    @property
    def prefetch(self) -> int:
        assert self.consumer is not None
        return self.consumer.prefetch

    async def has_run(self, count: int, *, within: float = 5) -> None:
        async def enough() -> bool:
            return len(self.ran) >= count

        await eventually_async(enough, within=within, what=f"{count} deliveries to run, so far {len(self.ran)}")

    async def _run(self, delivery: Delivery) -> None:
        # Like the executor: what has been claimed is acknowledged at once, and runs after that.
        await delivery.ack()
        self.ran.append((delivery.priority, delivery.body))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.seconds)
            await self.gate.wait()
        finally:
            self.running -= 1


@pytest.fixture
async def broker() -> CountingBroker:
    return CountingBroker()


@pytest.fixture
async def hire() -> AsyncIterator[Hire]:
    """Attaches workers; whatever they run is let go at the end of the test."""
    hired: list[Worker] = []

    async def one_more(broker: LocalBroker, *, slots: int, name: str = "worker", busy: bool = False) -> Worker:
        worker = Worker(broker, slots=slots, name=name)
        if busy:
            worker.gate.clear()
        await worker.attach()
        hired.append(worker)
        return worker

    yield one_more
    for worker in hired:
        await worker.dismiss()


@pytest.fixture(autouse=True)
def _long_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests tell of turns and slots is not to depend on how long the machine pauses in between."""
    monkeypatch.setattr(intake_module, "HOLD_SECONDS", 60.0)


@pytest.fixture
def _short_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "HOLD_SECONDS", 0.05)


async def fill(broker: LocalBroker, count: int, *priorities: TaskPriority) -> None:
    for priority in priorities:
        for number in range(count):
            await broker.dispatch(QUEUE, priority, b"%d" % number)


async def paused(worker: Worker) -> None:
    async def is_paused() -> bool:
        return not worker.takes_more

    await eventually_async(is_paused, within=5, what=f"{worker.name} to pause")


@pytest.mark.parametrize("slots", [1, 4, 32])
async def test_of_full_lines_high_normal_and_low_get_16_4_and_1_of_21_turns(
    broker: CountingBroker, hire: Hire, slots: int
) -> None:
    await fill(broker, 1_000, HIGH, NORMAL, LOW)
    worker = await hire(broker, slots=slots)
    rounds = 40
    await worker.has_run(21 * rounds)
    picked = Counter(priority for priority, _ in worker.ran[: 21 * rounds])
    # The first deliveries come from one line after the other, so the first turns are not yet over full lines.
    assert picked[HIGH] == pytest.approx(16 * rounds, abs=slots + 2)
    assert picked[NORMAL] == pytest.approx(4 * rounds, abs=slots + 2)
    assert picked[LOW] == pytest.approx(rounds, abs=slots + 2)


async def test_low_waits_its_turn_among_many_high_ones_and_no_longer(broker: CountingBroker, hire: Hire) -> None:
    worker = await hire(broker, slots=1, busy=True)
    await fill(broker, 100, HIGH)
    await worker.has_run(1)
    await fill(broker, 1, LOW)
    worker.gate.set()
    await worker.has_run(101)
    assert 4 <= [priority for priority, _ in worker.ran].index(LOW) <= 20


async def test_each_line_is_served_in_its_order(broker: CountingBroker, hire: Hire) -> None:
    await fill(broker, 50, HIGH, LOW)
    worker = await hire(broker, slots=1)
    await worker.has_run(100)
    for priority in (HIGH, LOW):
        assert [body for line, body in worker.ran if line is priority] == [b"%d" % n for n in range(50)]


async def test_no_more_run_at_once_than_there_are_slots(broker: CountingBroker, hire: Hire) -> None:
    worker = await hire(broker, slots=3, busy=True)
    await fill(broker, 10, HIGH, NORMAL, LOW)
    await worker.has_run(3)
    assert worker.intake.free == 0
    worker.gate.set()
    await worker.has_run(30)
    assert worker.most_running == 3
    await worker.intake.join(5)
    assert worker.intake.free == 3


@pytest.mark.usefixtures("_short_hold")
async def test_what_finds_no_free_slot_goes_to_a_worker_that_has_one(broker: CountingBroker, hire: Hire) -> None:
    busy = await hire(broker, slots=1, name="busy", busy=True)
    await fill(broker, 3, NORMAL)
    await busy.has_run(1)
    await paused(busy)
    idle = await hire(broker, slots=1, name="idle")
    await idle.has_run(2)
    assert [body for _, body in busy.ran + idle.ran] == [b"0", b"1", b"2"]
    busy.gate.set()


@pytest.mark.usefixtures("_short_hold")
async def test_a_worker_that_paused_takes_more_as_soon_as_a_slot_is_free(broker: CountingBroker, hire: Hire) -> None:
    worker = await hire(broker, slots=4, busy=True)
    await fill(broker, 20, HIGH, NORMAL)
    await worker.has_run(4)
    await paused(worker)

    async def returned() -> bool:
        return broker.returned > 0

    await eventually_async(returned, within=5, what="what waits to be given back")
    worker.gate.set()
    await worker.has_run(40)
    assert worker.takes_more
    await worker.intake.join(5)
    assert worker.prefetch == 4, "it takes as many as before once all slots are free"


async def test_deliveries_that_get_their_turn_are_not_given_back_however_long_the_line(
    broker: CountingBroker, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Far more than one turn takes on the busiest machine, and far less than all of them.
    monkeypatch.setattr(intake_module, "HOLD_SECONDS", 1.0)
    worker = await hire(broker, slots=1)
    worker.seconds = 0.02
    await fill(broker, 100, NORMAL)
    await worker.has_run(100, within=30)
    assert broker.returned == 0


@pytest.mark.usefixtures("_short_hold")
async def test_a_worker_with_a_free_slot_never_pauses(broker: CountingBroker, hire: Hire) -> None:
    worker = await hire(broker, slots=2, busy=True)
    await fill(broker, 1, NORMAL)
    await worker.has_run(1)
    # Another worker, without a free slot, shows when it would have been time.
    elsewhere = CountingBroker()
    other = await hire(elsewhere, slots=1, busy=True)
    await fill(elsewhere, 2, NORMAL)
    await paused(other)
    assert worker.takes_more
    assert broker.returned == 0


async def test_a_stopping_worker_gives_back_what_waits_and_lets_what_runs_finish(
    broker: CountingBroker, hire: Hire
) -> None:
    worker = await hire(broker, slots=2, busy=True)
    await fill(broker, 6, NORMAL)
    await worker.has_run(2)
    stopping = asyncio.create_task(worker.intake.stop(5))
    await paused(worker)
    assert not stopping.done()
    worker.gate.set()
    await stopping
    await worker.intake.join(5)
    assert len(worker.ran) == 2
    heir = await hire(broker, slots=4, name="heir")
    await heir.has_run(4)
    assert sorted(body for _, body in heir.ran) == [b"2", b"3", b"4", b"5"]


async def test_a_stop_waits_no_longer_than_its_grace(broker: CountingBroker, hire: Hire) -> None:
    worker = await hire(broker, slots=1, busy=True)
    await fill(broker, 1, NORMAL)
    await worker.has_run(1)
    async with asyncio.timeout(2):
        await worker.intake.stop(0.01)
        await worker.intake.join(0.01)
    assert worker.running == 1
    worker.gate.set()
    await worker.intake.join(5)
    assert worker.running == 0


async def test_a_stop_with_nothing_in_hand_returns_at_once(broker: CountingBroker, hire: Hire) -> None:
    worker = await hire(broker, slots=1)
    async with asyncio.timeout(1):
        await worker.intake.stop(30)
        await worker.intake.join(30)
    await fill(broker, 1, NORMAL)
    assert worker.ran == []
    assert not worker.takes_more


# --- Asking for deliveries -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_short_hold")
async def test_a_worker_without_free_slots_asks_for_what_is_most_urgent_when_one_is_freed(
    broker: CountingBroker, hire: Hire
) -> None:
    worker = await hire(broker, slots=1, busy=True)
    await fill(broker, 1, NORMAL)
    await worker.has_run(1)
    await fill(broker, 5, LOW, NORMAL)
    await paused(worker)

    async def one_of_each_has_returned() -> bool:
        return broker.returned == 2

    await eventually_async(one_of_each_has_returned, within=5, what="a low and a normal delivery to be given back")
    await fill(broker, 1, HIGH)
    worker.gate.set()
    await worker.has_run(2)
    assert worker.ran[1][0] is HIGH
    await worker.has_run(12)
    assert broker.returned == 2, "what is asked for is run"


@pytest.mark.usefixtures("_short_hold")
async def test_a_worker_that_asks_serves_the_lines_by_their_weights(broker: CountingBroker, hire: Hire) -> None:
    worker = await hire(broker, slots=1, busy=True)
    await fill(broker, 1, NORMAL)
    await worker.has_run(1)
    await fill(broker, 40, HIGH, NORMAL, LOW)
    await paused(worker)
    worker.gate.set()
    await worker.has_run(1 + 21)
    picked = Counter(priority for priority, _ in worker.ran[1:22])
    assert picked == {HIGH: 16, NORMAL: 4, LOW: 1}


def test_turns_are_saved_up_by_nobody_who_has_nothing_to_do() -> None:
    turns = Turns()
    lines = [HIGH, NORMAL, LOW]
    for _ in range(1_000):
        assert turns.order(lines)[0] is HIGH
        turns.forget()
    for _ in range(1_000):
        assert turns.order([NORMAL])[0] is NORMAL
        turns.serve(NORMAL, [NORMAL])
    served = Counter[TaskPriority]()
    for _ in range(210):
        chosen = turns.order(lines)[0]
        turns.serve(chosen, lines)
        served[chosen] += 1
    assert served == {HIGH: 160, NORMAL: 40, LOW: 10}
