"""What `shared.ports.Record` promises of many calls at once, and while the store is in trouble."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from shared.adapters.redis import RedisRecord
from shared.domain.commands import (
    Cancel,
    ConfirmDispatch,
    Succeed,
)
from shared.json_values import encode_json
from shared.ports import Appended, StoreFullError, StoreUnavailableError
from tests.contract.changes import (
    CLAIM,
    NOW,
    RESULT,
    SPEC,
    appended,
    change,
    new_task_id,
    shown,
    submission,
)
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from tests.servers import PrivateValkey, ValkeyFactory

pytestmark = pytest.mark.integration

SUCCEED = Succeed(attempt=1, result=RESULT)


# --- many calls at once ---------------------------------------------------------------------------------------------


async def test_concurrent_calls_get_each_its_own_answer_and_travel_together(record: RedisRecord, server: Redis) -> None:
    await record.read_sequence(new_task_id())  # So that connections exist and the script is known.
    await appended(record, submission())
    before = (await server.info("stats"))["total_reads_processed"]
    creations = [submission() for _ in range(500)]
    assert await asyncio.gather(*(record.append(each) for each in creations)) == [Appended()] * 500
    absent = new_task_id()
    answers = await asyncio.gather(
        *(record.read(each.task.id) for each in creations),
        *(record.read_sequence(each.task.id) for each in creations),
        record.read(absent),
    )
    assert answers[:500] == [each.task for each in creations]
    assert answers[500:1_000] == [1] * 500
    assert answers[1_000] is None
    reads = (await server.info("stats"))["total_reads_processed"] - before
    assert reads < 1_501 / 10, f"{reads} reads from the network for 1,501 calls"


async def test_calls_in_whatever_rhythm_are_all_answered(record: RedisRecord) -> None:
    # One caller may go on in the very turn of the loop in which the pipelines of the others come to their end.
    chance = random.Random(11)

    async def caller(calls: int) -> None:
        for _ in range(calls):
            assert await record.read_sequence(task.id) == 1
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)

    task = await appended(record, submission())
    for _ in range(150):
        async with asyncio.timeout(2):
            await asyncio.gather(*(caller(chance.randrange(1, 6)) for _ in range(chance.randrange(1, 5))))


async def test_one_bad_call_harms_no_other_of_its_pipeline(record: RedisRecord, server: Redis, key_prefix: str) -> None:
    good = await appended(record, submission())
    broken = new_task_id()
    await server.set(f"{key_prefix}:{{{broken[-2:]}}}:task:{broken}", "no task of ours")
    answers = await asyncio.gather(
        *(record.read_sequence(good.id) for _ in range(20)),
        record.read_sequence(broken),
        *(record.read_sequence(good.id) for _ in range(20)),
        return_exceptions=True,
    )
    assert [answer for answer in answers if not isinstance(answer, BaseException)] == [1] * 40
    assert "WRONGTYPE" in str(answers[20])


async def test_a_caller_who_is_cancelled_harms_no_other(store_url: str, key_prefix: str) -> None:
    record = RedisRecord(store_url, prefix=key_prefix, connections=2)
    chance = random.Random(7)
    try:
        tasks = [await appended(record, submission()) for _ in range(20)]
        for _ in range(30):
            callers = [asyncio.create_task(record.read(task.id)) for task in tasks]
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            given_up = set(chance.sample(range(20), 10))
            for index in given_up:
                callers[index].cancel()
            answers = await asyncio.gather(*callers, return_exceptions=True)
            for index, answer in enumerate(answers):
                if index in given_up and isinstance(answer, asyncio.CancelledError):
                    continue
                assert answer == tasks[index]
        async with asyncio.timeout(2):
            assert await asyncio.gather(*(record.read(task.id) for task in tasks)) == tasks
    finally:
        await record.close()


async def test_an_append_that_is_under_way_is_carried_out_though_its_caller_gives_up(record: RedisRecord) -> None:
    creations = [submission() for _ in range(20)]
    callers = [asyncio.create_task(record.append(each)) for each in creations]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)

    async def all_there() -> bool:
        return None not in [await record.read(each.task.id) for each in creations]

    await eventually_async(all_there, within=5, what="all of what was sent")


async def test_closing_answers_every_caller(store_url: str, key_prefix: str) -> None:
    record = RedisRecord(store_url, prefix=key_prefix)
    callers = [asyncio.create_task(record.append(submission())) for _ in range(300)]
    await asyncio.sleep(0)
    await record.close()
    assert await asyncio.gather(*callers) == [Appended()] * 300


async def test_closing_ends_though_somebody_tries_again_and_again(store_url: str, key_prefix: str) -> None:
    record = RedisRecord(store_url, prefix=key_prefix)
    refused = asyncio.Event()

    async def stubborn() -> None:
        while not refused.is_set():
            try:
                await record.read_sequence(new_task_id())
            except StoreUnavailableError:
                refused.set()

    callers = [asyncio.create_task(stubborn()) for _ in range(20)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await record.close()
        await asyncio.gather(*callers)


# --- a store in trouble ---------------------------------------------------------------------------------------------


async def test_a_store_that_does_not_answer_is_unavailable_within_the_deadline_and_works_after(
    valkey_factory: ValkeyFactory,
) -> None:
    server = valkey_factory()
    record = RedisRecord(server.url, deadline=0.5)
    try:
        task = await appended(record, submission())
        server.pause()
        loop = asyncio.get_running_loop()
        began = loop.time()
        answers = await asyncio.gather(
            record.read(task.id),
            record.append(submission()),
            record.due(["00"], until=NOW, limit=1),
            *(record.read_sequence(task.id) for _ in range(1_000)),
            return_exceptions=True,
        )
        assert {type(answer) for answer in answers} == {StoreUnavailableError}
        assert loop.time() - began < 0.8
        # The replies that nobody waited for come now, and must not be taken for those of the next calls.
        late = [asyncio.create_task(record.read_sequence(task.id)) for _ in range(3)]
        await asyncio.wait(late, timeout=0.1)
        server.resume()
        assert await asyncio.gather(*late) == [1, 1, 1]
        assert await record.read(task.id) == task
        assert await asyncio.gather(*(record.read_sequence(task.id) for _ in range(100))) == [1] * 100
    finally:
        server.resume()
        await record.close()


async def test_a_call_that_waits_behind_others_is_answered_within_its_own_deadline(
    valkey_factory: ValkeyFactory,
) -> None:
    server = valkey_factory()
    record = RedisRecord(server.url, deadline=0.6)
    try:
        task = await appended(record, submission())
        server.pause()
        loop = asyncio.get_running_loop()
        # As many pipelines as may be under way at once: each has its own turn of the loop to leave in.
        first = [asyncio.create_task(record.read(task.id))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.append(asyncio.create_task(record.read(task.id)))
        await asyncio.wait(first, timeout=0.4)
        began = loop.time()
        with pytest.raises(StoreUnavailableError):
            await record.read(task.id)
        assert loop.time() - began < 0.75
        await asyncio.gather(*first, return_exceptions=True)
    finally:
        server.resume()
        await record.close()


async def test_where_no_store_listens_it_is_unavailable_at_once(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    server.stop()
    record = RedisRecord(server.url, deadline=5)
    try:
        async with asyncio.timeout(2):
            with pytest.raises(StoreUnavailableError, match="the store did not answer"):
                await record.server_time()
        server.start()
        assert await record.server_time() > 0
    finally:
        await record.close()


async def test_a_restarted_store_is_used_at_once_though_it_has_forgotten_the_script(
    valkey_factory: ValkeyFactory,
) -> None:
    server = valkey_factory(appendonly=True)
    record = RedisRecord(server.url)
    try:
        creations = [submission() for _ in range(300)]
        await asyncio.gather(*(record.append(each) for each in creations))
        server.restart()
        claims = [change(each.task, CLAIM) for each in creations]
        assert await asyncio.gather(*(record.append(each) for each in claims)) == [Appended()] * 300
        assert await record.read(claims[0].task.id) == shown(claims[0].task)
    finally:
        await record.close()


async def test_a_full_store_refuses_writes_and_goes_on_reading(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory(settings={"maxmemory": "12mb", "maxmemory-policy": "noeviction"})
    record = RedisRecord(server.url)
    client = Redis.from_url(server.url)
    try:
        small = await appended(record, submission())
        big = replace(SPEC, payload=encode_json("x" * (1 << 20), "payload"))
        with pytest.raises(StoreFullError, match="memory limit"):
            for _ in range(20):
                await record.append(submission(spec=big))
        await client.config_set("maxmemory", "1mb")  # Now there is no room for the smallest change either.
        for refused in (change(small, CLAIM), change(small, ConfirmDispatch())):
            with pytest.raises(StoreFullError):
                await record.append(refused)
        assert await record.read(small.id) == small
        assert await record.read_events(small.id, after=0, limit=10) != []
        await client.config_set("maxmemory", "100mb")
        assert await record.append(change(small, CLAIM)) == Appended()
    finally:
        await client.aclose()
        await record.close()


async def test_a_full_store_still_forgets_what_has_expired_and_has_room_again(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory(settings={"maxmemory": "12mb", "maxmemory-policy": "noeviction"})
    record = RedisRecord(server.url)
    partitions = [f"{number:02x}" for number in range(256)]
    big = replace(SPEC, payload=encode_json("x" * (1 << 20), "payload"), retention=60_000)
    try:
        task = await appended(record, submission(spec=big))
        await appended(record, change(task, Cancel()))
        with pytest.raises(StoreFullError):
            for _ in range(20):
                await record.append(submission(spec=big))
        assert await record.forget(partitions, until=NOW + 60_000, limit=10) == 1
        await appended(record, submission(spec=big))
    finally:
        await record.close()


async def test_a_slot_that_nobody_serves_is_a_store_that_is_unavailable(
    cluster: PrivateValkey, key_prefix: str
) -> None:
    record = RedisRecord(cluster.url, prefix=key_prefix)
    client = Redis.from_url(cluster.url)
    task = await appended(record, submission())
    slot = await client.execute_command("CLUSTER", "KEYSLOT", f"{{{task.id[-2:]}}}")
    try:
        await client.execute_command("CLUSTER", "DELSLOTS", slot)
        with pytest.raises(StoreUnavailableError):
            await record.read(task.id)
        with pytest.raises(StoreUnavailableError):
            await record.append(change(task, CLAIM))
    finally:
        await client.execute_command("CLUSTER", "ADDSLOTS", slot)
        await client.aclose()

    async def works_again() -> bool:
        try:
            return await record.append(change(task, CLAIM)) == Appended()
        except StoreUnavailableError:
            return False

    await eventually_async(works_again, within=10, what="the cluster to be in order again")
    await record.close()
