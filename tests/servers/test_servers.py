"""The private servers do what the other tests rely on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aio_pika
import pytest
import redis
from redis.exceptions import ClusterCrossSlotError

from tests.servers import (
    PrivateRabbitMQ,
    PrivateValkey,
    ServerProcess,
    ServerStartError,
    free_port,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import ValkeyFactory

pytestmark = pytest.mark.integration

_SLEEPS = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]


def _client(server: PrivateValkey) -> redis.Redis:
    return redis.Redis.from_url(server.url, protocol=2, socket_timeout=5)


def _processes_in_session_of(pid: int) -> list[int]:
    """Every process of the session that `pid` leads or led, those that are dead and not reaped aside."""
    members = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name_and_more = status.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = name_and_more.rpartition(")")[2].split()
        if int(fields[3]) == pid and fields[0] != "Z":
            members.append(int(status.parent.name))
    return members


def _expect_gone(*pids: int) -> None:
    def gone() -> bool:
        return not any(_processes_in_session_of(pid) for pid in pids)

    wait_until(gone, within=5, what=f"everything in the sessions {pids} to end")
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_free_ports_are_never_handed_out_twice() -> None:
    ports = [free_port() for _ in range(50)]

    assert len(set(ports)) == 50
    with socket.create_server(("127.0.0.1", ports[0])):
        pass


def test_a_server_that_exits_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    server = ServerProcess(
        "the failing server",
        [sys.executable, "-c", "raise SystemExit('no disk left')"],
        log=tmp_path / "log",
    )

    with pytest.raises(ServerStartError, match=r"exited before it was ready(?s:.*)no disk left"):
        server.start(ready=lambda: False, within=20)

    assert not server.running


def test_a_server_that_is_not_ready_in_time_is_not_left_running(tmp_path: Path) -> None:
    server = ServerProcess("the slow server", _SLEEPS, log=tmp_path / "log")
    seen: list[int] = []

    def never() -> bool:
        seen.append(server.pid)
        return False

    with pytest.raises(ServerStartError, match=r"waited 0\.5 s for the slow server to be ready"):
        server.start(ready=never, within=0.5)

    assert not server.running
    _expect_gone(seen[0])


def test_a_server_ends_when_the_test_process_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = (
        "import sys, pathlib, time\n"
        "from tests.servers import ServerProcess\n"
        f"server = ServerProcess('orphan', {_SLEEPS!r}, log=pathlib.Path({str(log)!r}))\n"
        "server.start(ready=lambda: 'here' in server.log_tail(), within=30)\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        assert _processes_in_session_of(orphan) == [orphan]
        parent.kill()

    wait_until(lambda: not _processes_in_session_of(orphan), within=5, what="the orphan to end")


def test_valkey_keeps_what_it_appended_over_a_kill_and_leaves_nothing_running(
    valkey_factory: ValkeyFactory,
) -> None:
    server = valkey_factory(appendonly=True)
    with _client(server) as client:
        client.set("colour", "green")
    first = server.pid
    server.kill()
    _expect_gone(first)
    server.start()
    with _client(server) as client:
        assert client.get("colour") == b"green"
    second = server.pid
    server.stop()
    _expect_gone(second)

    server.wipe()
    server.start()
    with _client(server) as client:
        assert client.get("colour") is None


def test_a_paused_valkey_answers_nothing_until_it_is_resumed_and_can_be_stopped_paused(
    valkey_factory: ValkeyFactory,
) -> None:
    server = valkey_factory()
    client = redis.Redis.from_url(server.url, protocol=2, socket_timeout=0.3, retry=None)
    with client:
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        assert client.ping()
    server.pause()
    pid = server.pid
    server.stop()
    _expect_gone(pid)


def test_a_valkey_in_cluster_mode_refuses_two_slots_in_one_command(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory(cluster_mode=True)
    with _client(server) as client:
        client.mset({"{a}1": "x", "{a}2": "y"})
        with pytest.raises(ClusterCrossSlotError):
            client.mset({"{a}1": "x", "{b}1": "y"})

    server.restart()

    with _client(server) as client:
        assert client.cluster("INFO")["cluster_slots_ok"] == "16384"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbitMQ]:
    with PrivateRabbitMQ(tmp_path_factory.mktemp("node")) as server:
        server.start()
        yield server


async def _declare_and_publish(node: PrivateRabbitMQ) -> None:
    async with await aio_pika.connect(node.url) as connection, connection.channel() as channel:
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"hello", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key="kept")


async def _take(node: PrivateRabbitMQ) -> bytes:
    async with await aio_pika.connect(node.url) as connection, connection.channel() as channel:
        queue = await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = await queue.get(timeout=10)
        await message.ack()
        return message.body


async def test_a_killed_rabbitmq_comes_back_with_its_messages_and_leaves_nothing_running(
    node: PrivateRabbitMQ,
) -> None:
    await _declare_and_publish(node)
    node.wait_until_on_disk("kept")
    pid, epmd_pid = node.pid, node.epmd_pid
    node.kill()
    _expect_gone(pid, epmd_pid)

    node.start()

    assert await _take(node) == b"hello"


async def test_a_wiped_rabbitmq_has_forgotten_its_queues(node: PrivateRabbitMQ) -> None:
    await _declare_and_publish(node)
    pid, epmd_pid = node.pid, node.epmd_pid
    node.stop()
    _expect_gone(pid, epmd_pid)

    node.wipe()
    node.start()

    assert node.ctl("list_queues", "name", "--formatter=json").strip() == "[\n]"


def test_rabbitmqctl_says_what_it_was_asked_to_do_when_it_fails(node: PrivateRabbitMQ) -> None:
    with pytest.raises(RuntimeError, match="rabbitmqctl no_such_command failed"):
        node.ctl("no_such_command")
