from __future__ import annotations

import inspect
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, assert_type

import grpc
import pytest

from taskcast import Client, SyncClient, TaskcastError, submission
from taskcast.v1 import admin_service_pb2, task_pb2, task_service_pb2
from tests.deadlines import eventually
from tests.unit.scripted_gateway import (
    TASK_ID,
    Refusal,
    ScriptedGateway,
    Silence,
    event,
    of_many,
    snapshot,
    succeeded,
)
from tests.unit.scripted_thread import gateway_on_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

TASK = task_pb2.Task(id=TASK_ID, sequence=1)
STORE_AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "The record is away.", "STORE_UNAVAILABLE", retry_delay=0.01)
GOING_AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "This gateway is stopping.", "SHUTTING_DOWN", retry_delay=0.01)


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    with gateway_on_a_thread() as gateway:
        yield gateway


@pytest.fixture
def client(gateway: ScriptedGateway) -> Iterator[SyncClient]:
    with SyncClient(gateway.address, deadline=5) as client:
        yield client


def test_it_has_every_method_of_the_async_client() -> None:
    def public(kind: type) -> dict[str, inspect.Signature]:
        functions = inspect.getmembers(kind, inspect.isfunction)
        return {name: inspect.signature(method) for name, method in functions if not name.startswith("_")}

    assert public(SyncClient).keys() == public(Client).keys()
    for name, signature in public(Client).items():
        assert public(SyncClient)[name].parameters == signature.parameters


def test_a_call_answers_as_the_async_one_does(gateway: ScriptedGateway, client: SyncClient) -> None:
    gateway.answers.extend([STORE_AWAY, task_service_pb2.SubmitTaskResponse(task=TASK)])
    gateway.answers.append(task_service_pb2.GetTaskResponse(task=TASK))
    task = client.submit("demo.steps", {"steps": 3}, queue="heavy")
    assert_type(task, task_pb2.Task)
    assert task == client.get(TASK_ID) == TASK
    assert gateway.requests[0].queue == "heavy"


def test_a_refusal_is_raised_where_the_call_stands(gateway: ScriptedGateway, client: SyncClient) -> None:
    gateway.answers.append(Refusal(grpc.StatusCode.NOT_FOUND, "There is no such task.", "TASK_NOT_FOUND"))
    with pytest.raises(TaskcastError, match="no such task"):
        client.get(TASK_ID)


def test_a_watch_is_a_plain_loop_that_resumes(gateway: ScriptedGateway, client: SyncClient) -> None:
    gateway.streams.extend([[event(1), event(2), GOING_AWAY], [event(3), succeeded(4)]])
    assert [update.event.sequence for update in client.watch(TASK_ID, 0)] == [1, 2, 3, 4]


def test_many_tasks_are_submitted_followed_and_listed(gateway: ScriptedGateway, client: SyncClient) -> None:
    result = task_service_pb2.BatchTaskResult(task=TASK)
    gateway.answers.append(task_service_pb2.BatchSubmitTasksResponse(results=[result]))
    gateway.answers.append(task_service_pb2.ListTasksResponse(tasks=[TASK]))
    gateway.answers.append(admin_service_pb2.ListQueuesResponse())
    gateway.streams.append([of_many(snapshot(3, task_pb2.TASK_STATUS_SUCCESS))])
    assert client.submit_many([submission("demo.steps")]) == [TASK]
    (update,) = client.watch_many([TASK_ID])
    assert update.snapshot.sequence == 3
    assert list(client.list()) == [TASK]
    assert client.queues() == []


def test_leaving_the_loop_ends_the_watch(gateway: ScriptedGateway, client: SyncClient) -> None:
    gateway.streams.append([snapshot(1), Silence()])
    for _ in client.watch(TASK_ID):
        break
    eventually(gateway.stream_ended.is_set, within=5, what="the end of the call")


def test_waiting_has_a_bound_when_it_is_given_one(gateway: ScriptedGateway, client: SyncClient) -> None:
    gateway.streams.append([snapshot(1), Silence()])
    with pytest.raises(TimeoutError):
        client.wait(TASK_ID, within=0.2)
    eventually(gateway.stream_ended.is_set, within=5, what="the end of the call")


def test_several_threads_may_share_it(gateway: ScriptedGateway, client: SyncClient) -> None:
    gateway.answers.extend([task_service_pb2.GetTaskResponse(task=TASK)] * 200)
    gateway.streams.extend([[event(1), event(2), succeeded(3)]] * 8)

    def work(_: int) -> list[int]:
        assert [client.get(TASK_ID) for _ in range(25)] == [TASK] * 25
        return [update.event.sequence for update in client.watch(TASK_ID, 0)]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == [[1, 2, 3]] * 8


def test_closing_it_ends_the_calls_of_other_threads_with_an_error(gateway: ScriptedGateway) -> None:
    gateway.answers.append(Silence())
    gateway.streams.append([snapshot(1), Silence()])
    with ThreadPoolExecutor(2) as threads, SyncClient(gateway.address) as client:
        call = threads.submit(client.get, TASK_ID)
        watch = threads.submit(lambda: [*client.watch(TASK_ID)])
        eventually(lambda: len(gateway.requests) == 2, within=5, what="both requests")
        client.close()
        for waiting in (call, watch):
            with pytest.raises(TaskcastError, match="closed by this side"):
                waiting.result(5)


def test_a_client_that_is_not_open_says_how_to_open_it() -> None:
    client = SyncClient()
    with pytest.raises(RuntimeError, match="with SyncClient"):
        client.get(TASK_ID)
    with client:
        pass
    client.close()
    with pytest.raises(RuntimeError, match="with SyncClient"):
        client.get(TASK_ID)
    with pytest.raises(RuntimeError, match="once"):
        client.__enter__()


def test_its_thread_is_gone_when_it_is_closed() -> None:
    with SyncClient():
        assert "taskcast client" in {thread.name for thread in threading.enumerate()}
    assert "taskcast client" not in {thread.name for thread in threading.enumerate()}


def test_a_callback_that_calls_the_client_is_told_that_it_must_not(gateway: ScriptedGateway) -> None:
    gateway.answers.append(STORE_AWAY)

    def call_it(_error: TaskcastError, _pause: float) -> None:
        own.get(TASK_ID)

    with SyncClient(gateway.address, on_retry=call_it) as own, pytest.raises(RuntimeError, match="callback"):
        own.get(TASK_ID)


INTERRUPTED = """
import signal, sys
from taskcast import SyncClient

# A test run in the background ignores SIGINT, and so do its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
with SyncClient(sys.argv[1]) as client:
    try:
        if sys.argv[2] == "watch":
            for update in client.watch("{id}"):
                pass
        else:
            client.get("{id}")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(client.get("{id}").sequence)
"""


@pytest.mark.parametrize("what", ["watch", "get"])
def test_ctrl_c_interrupts_what_waits_and_leaves_the_client_fit_for_use(gateway: ScriptedGateway, what: str) -> None:
    if what == "get":
        gateway.answers.append(Silence())
    gateway.answers.append(task_service_pb2.GetTaskResponse(task=TASK))
    gateway.streams.append([snapshot(1), Silence()])
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(id=TASK_ID), gateway.address, what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        eventually(lambda: gateway.requests, within=20, what="the first request")
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        out, errors = program.communicate(timeout=20)
    assert (out, errors) == ("interrupted\n1\n", "")
    assert time.monotonic() - began < 10


def test_a_program_that_forgets_to_close_it_ends_all_the_same() -> None:
    code = "from taskcast import SyncClient; client = SyncClient().__enter__(); print('done')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
