"""The receivers of examples/webhooks take what is signed, once, and nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from taskcast.v1 import task_pb2
from tests.clients import calling
from tests.deadlines import eventually_async
from tests.endpoints import NEW_SECRET, SECRET
from tests.servers import ServerProcess, free_port
from tests.servers.programs import ensure_node
from tests.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stack import Stack

pytestmark = pytest.mark.e2e

EXAMPLES = ROOT / "examples" / "webhooks"


def python_receiver(_folder: Path, port: int) -> list[str]:
    return [sys.executable, str(EXAMPLES / "receiver.py"), "--port", str(port)]


def node_receiver(folder: Path, port: int) -> list[str]:
    node = ensure_node()
    for name in ("package.json", "package-lock.json", "receiver.mjs"):
        shutil.copy(EXAMPLES / name, folder)
    npm = shutil.which("npm")
    assert npm is not None  # ensure_node has looked.
    subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True, timeout=100)
    return [str(node), str(folder / "receiver.mjs"), str(port)]


class Running:
    """A receiver that runs."""

    def __init__(self, process: ServerProcess, log: Path, port: int) -> None:
        self._process = process
        self._log = log
        self.url = f"http://127.0.0.1:{port}/hook"

    def lines(self, task_id: str) -> list[str]:
        """What it has said of the task."""
        return [line for line in self._log.read_text(encoding="utf-8").splitlines() if task_id in line]


@pytest.fixture(scope="module", params=[python_receiver, node_receiver], ids=["python", "node"])
def receiver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    port = free_port()
    folder = tmp_path_factory.mktemp("receiver")
    log = folder / "receiver.log"
    # It knows the new secret as well, as in the middle of a rotation.
    environment = {**os.environ, "TASKCAST_WEBHOOK_SECRET": f"{NEW_SECRET},{SECRET}"}
    process = ServerProcess("receiver", request.param(folder, port), log=log, environment=environment)
    process.start(ready=lambda: _listens(port), within=30)
    try:
        yield Running(process, log, port)
    finally:
        process.stop()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def test_a_receiver_hears_of_each_change_once(standing_stack: Stack, receiver: Running) -> None:
    async with calling(standing_stack.address) as caller:
        task = await caller.submit("test.echo", webhooks=[task_pb2.Webhook(url=receiver.url)])

        async def heard_of_the_end() -> bool:
            return len(receiver.lines(task.id)) >= 3

        await eventually_async(heard_of_the_end, within=20, what="three webhooks")
        await caller.redeliver(f"{task.id}-1-0")

        async def delivered_again() -> bool:
            [first] = [d for d in await caller.deliveries(task_id=task.id) if d.sequence == 1]
            return first.tries == 1 and first.HasField("end_time")

        await eventually_async(delivered_again, within=20, what="the repetition to be accepted")
    assert receiver.lines(task.id) == [
        f"task.waiting of task {task.id}, event 1",
        f"task.processing of task {task.id}, event 2",
        f"task.success of task {task.id}, event 3",
    ]


@pytest.mark.parametrize(
    "signature",
    ["v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=", "v1", "", "v1,%%%", "v1a,x v1,y"],
)
async def test_a_receiver_refuses_what_is_forged(receiver: Running, signature: str) -> None:
    headers = {"webhook-id": "x", "webhook-timestamp": "1700000000", "webhook-signature": signature}
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        async with session.post(receiver.url, data=b'{"type": "task.success"}', headers=headers) as response:
            assert response.status == 401
        async with session.post(receiver.url, data=b"{}") as response:
            assert response.status == 401
