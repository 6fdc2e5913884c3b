"""What `shared.ports.Deliveries` promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.domain.commands import Cancel, Fail, Succeed
from shared.domain.decide import kept_until
from shared.domain.identity import PARTITION_NAMES, partition_of
from shared.domain.task import EventType, TaskError, Webhook
from shared.domain.webhooks import (
    Answer,
    DeliveryKey,
    DeliveryState,
    EndpointHealth,
    Failure,
    WebhookDelivery,
    begin_again,
    deliveries_of,
    give_up,
    judge,
)
from shared.ports import Lane
from tests.contract.changes import CLAIM, NOW, RESULT, SPEC, appended, change, new_task_id, progress, submission
from tests.deadlines import eventually_async

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.adapters.redis import RedisRecord
    from shared.domain.commands import Command
    from shared.domain.task import Task
    from shared.ports import ListedDelivery, TakenLane

pytestmark = pytest.mark.integration

HOOKED = replace(SPEC, webhooks=(Webhook(url="https://a.example/"), Webhook(url="https://b.example/")))
HOLD = NOW + 30_000
ALL = tuple(DeliveryState)


async def hooked(record: RedisRecord, task: Task | None, *commands: Command, now: int = NOW) -> Task:
    """The task after a change that tells its webhooks."""
    what = submission(spec=HOOKED, now=now) if task is None else change(task, *commands, now=now)
    what = replace(what, deliveries=deliveries_of(HOOKED, what.events, ()))
    return await appended(record, what)


async def lanes(record: RedisRecord, *, until: int = NOW, limit: int = 100) -> list[tuple[Lane, int]]:
    return await record.deliveries.due(PARTITION_NAMES, until=until, limit=limit)


async def taken(record: RedisRecord, lane: Lane, *, now: int = NOW, limit: int = 100) -> TakenLane:
    found = await record.deliveries.take(lane, now=now, until=HOLD, limit=limit)
    assert found is not None
    return found


def delivery(lane: TakenLane, sequence: int) -> WebhookDelivery:
    event = next(event for event in lane.events if event.sequence == sequence)
    return WebhookDelivery(
        key=DeliveryKey(lane.lane.task_id, sequence, lane.lane.endpoint),
        url="https://a.example/",
        event_type=event.type,
        create_time=event.time,
    )


def accepted(lane: TakenLane, sequence: int, now: int = NOW) -> WebhookDelivery:
    return judge(delivery(lane, sequence), Answer(status=200), now, ())


async def listed(
    record: RedisRecord, states: Sequence[DeliveryState] = ALL, *, tenant: str = "acme", limit: int = 100
) -> list[DeliveryKey]:
    """All pages together."""
    found: list[ListedDelivery] = []
    more = True
    while more:
        page, more = await record.deliveries.page(tenant, states, before=found[-1] if found else None, limit=limit)
        found += page
    assert found == sorted(found, key=lambda entry: entry.create_time, reverse=True)
    return [entry.key for entry in found]


async def test_each_endpoint_of_a_task_has_a_lane_that_is_due_from_the_append_on(record: RedisRecord) -> None:
    task = await hooked(record, None)
    assert await lanes(record, until=NOW - 1) == []
    assert sorted(await lanes(record), key=lambda due: due[0].endpoint) == [
        (Lane(task.id, "0"), NOW),
        (Lane(task.id, "1"), NOW),
    ]


async def test_a_task_without_webhooks_has_no_lane(record: RedisRecord) -> None:
    await appended(record, submission())
    assert await lanes(record) == []


async def test_a_lane_shows_the_task_and_what_lies_ahead(record: RedisRecord) -> None:
    task = await hooked(record, await hooked(record, None), CLAIM)
    lane = await taken(record, Lane(task.id, "0"))
    assert (lane.task.id, lane.task.sequence, lane.task.spec.webhooks) == (task.id, 2, HOOKED.webhooks)
    assert [event.type for event in lane.events] == [EventType.SUBMITTED, EventType.STARTED]
    assert (lane.cursor, lane.known) == (0, {})


async def test_a_lane_in_hand_is_not_due_until_its_hold_is_over(record: RedisRecord) -> None:
    task = await hooked(record, None)
    one, other = Lane(task.id, "0"), Lane(task.id, "1")
    await taken(record, one)
    assert await record.deliveries.take(one, now=HOLD - 1, until=HOLD, limit=1) is None
    assert [lane for lane, _ in await lanes(record, until=HOLD - 1)] == [other]
    assert (await taken(record, one, now=HOLD)).lane == one


async def test_of_many_who_want_a_lane_one_gets_it(record: RedisRecord) -> None:
    task = await hooked(record, None)
    wants = [record.deliveries.take(Lane(task.id, "0"), now=NOW, until=HOLD, limit=1) for _ in range(20)]
    assert sum(found is not None for found in await asyncio.gather(*wants)) == 1


async def test_a_lane_goes_on_after_its_cursor(record: RedisRecord) -> None:
    task = await hooked(record, await hooked(record, None), CLAIM)
    lane = await taken(record, Lane(task.id, "0"))
    after = await record.deliveries.settle(lane, cursor=1, delivery=accepted(lane, 1), again_at=NOW, now=NOW)
    assert after is not None
    assert after.cursor == 1
    again = await taken(record, Lane(task.id, "0"))
    assert [event.sequence for event in again.events] == [2]


async def test_a_lane_with_nothing_left_is_due_no_more(record: RedisRecord) -> None:
    task = await hooked(record, None)
    lane = await taken(record, Lane(task.id, "0"))
    await record.deliveries.settle(lane, cursor=1, delivery=accepted(lane, 1), again_at=None, now=NOW)
    assert [lane for lane, _ in await lanes(record, until=HOLD)] == [Lane(task.id, "1")]


async def test_an_event_that_came_while_the_lane_was_in_hand_is_not_forgotten(record: RedisRecord) -> None:
    task = await hooked(record, None)
    lane = await taken(record, Lane(task.id, "0"))
    await hooked(record, task, CLAIM)
    await record.deliveries.settle(lane, cursor=1, delivery=accepted(lane, 1), again_at=None, now=NOW)
    assert [event.sequence for event in (await taken(record, Lane(task.id, "0"))).events] == [2]


async def test_a_later_event_does_not_hurry_an_earlier_one_that_waits(record: RedisRecord) -> None:
    task = await hooked(record, None)
    lane = await taken(record, Lane(task.id, "0"))
    waits = judge(delivery(lane, 1), Answer(status=500, failure=Failure.STATUS), NOW, (5_000,))
    assert waits.next_try_time is not None
    await record.deliveries.settle(lane, cursor=0, delivery=waits, again_at=waits.next_try_time, now=NOW)
    await hooked(record, task, CLAIM, now=NOW + 1)
    assert [lane for lane, _ in await lanes(record, until=NOW + 1)] == [Lane(task.id, "1")]
    again = await taken(record, Lane(task.id, "0"), now=waits.next_try_time)
    assert again.known == {1: waits}
    assert [event.sequence for event in again.events] == [1, 2]


async def test_who_lost_the_lane_to_another_writes_nothing(record: RedisRecord) -> None:
    task = await hooked(record, None)
    slow = await taken(record, Lane(task.id, "0"))
    quick = await taken(record, Lane(task.id, "0"), now=HOLD)
    await record.deliveries.settle(quick, cursor=1, delivery=accepted(quick, 1), again_at=None, now=HOLD)
    late = give_up(delivery(slow, 1), Failure.DISABLED, HOLD)
    assert await record.deliveries.settle(slow, cursor=1, delivery=late, again_at=None, now=HOLD) is None
    assert await listed(record, [DeliveryState.FAILED]) == []


async def test_a_settlement_that_is_sent_again_counts_once(record: RedisRecord) -> None:
    task = await hooked(record, None)
    lane = await taken(record, Lane(task.id, "0"))
    for _ in range(2):
        settled = await record.deliveries.settle(lane, cursor=1, delivery=accepted(lane, 1), again_at=None, now=NOW)
        assert settled is not None
    other = await taken(record, Lane(task.id, "1"))
    await record.deliveries.settle(other, cursor=1, delivery=accepted(other, 1), again_at=None, now=NOW)
    # Were it counted twice, the other one's would have been taken to be the last.
    ended = await hooked(record, task, Cancel())
    assert await record.forget(PARTITION_NAMES, until=kept_until(ended), limit=10) == 0


async def test_a_lane_can_be_put_off(record: RedisRecord) -> None:
    task = await hooked(record, None)
    await taken(record, Lane(task.id, "0"))
    await record.deliveries.put_off(Lane(task.id, "0"), NOW + 700)
    assert dict(await lanes(record, until=NOW + 700))[Lane(task.id, "0")] == NOW + 700
    gone = Lane(new_task_id(), "0")
    await record.deliveries.put_off(gone, NOW)
    assert gone not in dict(await lanes(record, until=HOLD))


async def test_progress_is_passed_over_by_moving_the_cursor(record: RedisRecord) -> None:
    task = await hooked(record, await hooked(record, None), CLAIM, *(progress(n) for n in range(5)))
    first = await taken(record, Lane(task.id, "0"), limit=3)
    assert [event.sequence for event in first.events] == [1, 2, 3]
    await record.deliveries.settle(first, cursor=3, again_at=NOW, now=NOW)
    rest = await taken(record, Lane(task.id, "0"), limit=100)
    assert [event.sequence for event in rest.events] == [4, 5, 6, 7]


async def test_every_delivery_is_listed_from_the_append_on_newest_first(record: RedisRecord) -> None:
    task = await hooked(record, None)
    await hooked(record, task, CLAIM, now=NOW + 5)
    other = await hooked(record, None, now=NOW + 3)
    for limit in (1, 2, 100):
        found = await listed(record, limit=limit)
        assert [(key.task_id, key.sequence) for key in found] == [
            (task.id, 2),
            (task.id, 2),
            (other.id, 1),
            (other.id, 1),
            (task.id, 1),
            (task.id, 1),
        ]
        assert len(set(found)) == 6
    assert await listed(record, tenant="other") == []


async def test_a_delivery_is_listed_in_the_state_that_it_is_in(record: RedisRecord) -> None:
    task = await hooked(record, None)
    one, two = await taken(record, Lane(task.id, "0")), await taken(record, Lane(task.id, "1"))
    await record.deliveries.settle(one, cursor=1, delivery=accepted(one, 1), again_at=None, now=NOW)
    failed = give_up(delivery(two, 1), Failure.GONE, NOW)
    await record.deliveries.settle(two, cursor=1, delivery=failed, again_at=None, now=NOW)
    keys = [DeliveryKey(task.id, 1, "0"), DeliveryKey(task.id, 1, "1")]
    assert await listed(record, [DeliveryState.PENDING]) == []
    assert await listed(record, [DeliveryState.DELIVERED]) == keys[:1]
    assert await listed(record, [DeliveryState.FAILED]) == keys[1:]
    assert await record.deliveries.read(keys) == [accepted(one, 1), failed]


async def test_a_delivery_that_was_never_tried_has_nothing_to_read(record: RedisRecord) -> None:
    task = await hooked(record, None)
    assert (
        await record.deliveries.read([DeliveryKey(task.id, 1, "0"), DeliveryKey(new_task_id(), 1, "0")]) == [None] * 2
    )


async def test_what_is_delivered_again_goes_first_and_the_settled_after_it_is_known(record: RedisRecord) -> None:
    task = await hooked(record, await hooked(record, None), CLAIM)
    lane = await taken(record, Lane(task.id, "0"))
    failed = give_up(delivery(lane, 1), Failure.DISABLED, NOW)
    after = await record.deliveries.settle(lane, cursor=1, delivery=failed, again_at=HOLD, now=NOW)
    assert after is not None
    await record.deliveries.settle(after, cursor=2, delivery=accepted(after, 2), again_at=None, now=NOW)

    assert await record.deliveries.deliver_again("acme", [begin_again(failed, NOW + 9)], NOW + 9)
    assert await listed(record, [DeliveryState.FAILED]) == []
    assert DeliveryKey(task.id, 1, "0") in await listed(record, [DeliveryState.PENDING])
    again = await taken(record, Lane(task.id, "0"), now=NOW + 9)
    assert again.cursor == 0
    assert [known.state for known in again.known.values()] == [DeliveryState.PENDING, DeliveryState.DELIVERED]


async def test_what_is_asked_for_again_while_the_lane_is_in_hand_is_not_passed_over(record: RedisRecord) -> None:
    task = await hooked(record, await hooked(record, None), CLAIM)
    lane = await taken(record, Lane(task.id, "0"))
    failed = give_up(delivery(lane, 2), Failure.DISABLED, NOW)
    after = await record.deliveries.settle(lane, cursor=1, delivery=accepted(lane, 1), again_at=HOLD, now=NOW)
    assert after is not None
    await record.deliveries.settle(after, cursor=2, delivery=failed, again_at=None, now=NOW)
    await record.deliveries.deliver_again("acme", [begin_again(accepted(lane, 1), NOW)], NOW)

    # Taken for the first event, which alone is pending, the lane would be left behind the second.
    in_hand = await taken(record, Lane(task.id, "0"))
    await record.deliveries.deliver_again("acme", [begin_again(failed, NOW)], NOW)
    assert (
        await record.deliveries.settle(
            in_hand, cursor=2, delivery=accepted(in_hand, 1, NOW + 1), again_at=None, now=NOW
        )
        is None
    )
    again = await taken(record, Lane(task.id, "0"))
    assert (again.cursor, again.known[1].state, again.known[2].state) == (
        0,
        DeliveryState.DELIVERED,
        DeliveryState.PENDING,
    )


async def test_what_was_given_up_of_a_lane_is_pending_again_in_one_step(record: RedisRecord) -> None:
    task = await hooked(record, await hooked(record, None), CLAIM)
    lane = await taken(record, Lane(task.id, "0"))
    failed = [give_up(delivery(lane, sequence), Failure.GONE, NOW) for sequence in (1, 2)]
    after = await record.deliveries.settle(lane, cursor=1, delivery=failed[0], again_at=HOLD, now=NOW)
    assert after is not None
    await record.deliveries.settle(after, cursor=2, delivery=failed[1], again_at=None, now=NOW)

    anew = [begin_again(each, NOW + 9) for each in failed]
    assert await record.deliveries.deliver_again("acme", anew, NOW + 9)
    assert await listed(record, [DeliveryState.FAILED]) == []
    again = await taken(record, Lane(task.id, "0"), now=NOW + 9)
    assert (again.cursor, list(again.known.values())) == (0, anew)


async def test_a_task_that_is_gone_delivers_nothing_again(record: RedisRecord) -> None:
    key = DeliveryKey(new_task_id(), 1, "0")
    lost = WebhookDelivery(key=key, url="", event_type=EventType.SUBMITTED, create_time=NOW)
    assert not await record.deliveries.deliver_again("acme", [lost], NOW)
    assert await lanes(record, until=HOLD) == []


@pytest.mark.parametrize(
    "outcome", [Succeed(attempt=1, result=RESULT), Fail(attempt=1, error=TaskError(code="A", message="b"))]
)
async def test_a_task_is_not_forgotten_before_its_last_delivery_is_settled(
    record: RedisRecord, outcome: Command
) -> None:
    task = await hooked(record, await hooked(record, None), CLAIM, outcome)
    until = kept_until(task)
    for endpoint in ("0", "1"):
        assert await record.forget([partition_of(task.id)], until=until, limit=10) == 0
        lane = await taken(record, Lane(task.id, endpoint))
        for sequence in (1, 2, 3):
            settled = await record.deliveries.settle(
                lane,
                cursor=sequence,
                delivery=accepted(lane, sequence),
                again_at=HOLD if sequence < 3 else None,
                now=NOW,
            )
            assert settled is not None
            lane = settled
    # It was put off, so it is looked at a minute later.
    assert await record.forget([partition_of(task.id)], until=until + 60_000, limit=10) == 1
    assert await record.read(task.id) is None
    assert await listed(record) == []
    assert await record.deliveries.read([DeliveryKey(task.id, 1, "0")]) == [None]


async def test_a_task_is_kept_for_longer_where_that_is_asked_for(record: RedisRecord) -> None:
    task = await hooked(record, await hooked(record, None), Cancel())
    until = kept_until(task)
    for endpoint in ("0", "1"):
        lane = await taken(record, Lane(task.id, endpoint))
        for sequence in (1, 2):
            settled = await record.deliveries.settle(
                lane,
                cursor=sequence,
                delivery=give_up(delivery(lane, sequence), Failure.GONE, NOW),
                again_at=HOLD,
                now=NOW,
                keep_until=until + 500,
            )
            assert settled is not None
            lane = settled
    assert await record.forget([partition_of(task.id)], until=until + 499, limit=10) == 0
    assert await record.forget([partition_of(task.id)], until=until + 500, limit=10) == 1


async def test_an_endpoint_fails_since_its_first_failure_until_it_works(record: RedisRecord) -> None:
    deliveries = record.deliveries
    assert await deliveries.endpoint_health("acme", "https://a/") == EndpointHealth()
    await deliveries.endpoint_failed("acme", "https://a/", now=NOW, gone=False, ttl=60_000)
    await deliveries.endpoint_failed("acme", "https://a/", now=NOW + 5, gone=False, ttl=60_000)
    assert await deliveries.endpoint_health("acme", "https://a/") == EndpointHealth(NOW)
    await deliveries.endpoint_failed("acme", "https://a/", now=NOW + 6, gone=True, ttl=60_000)
    assert await deliveries.endpoint_health("acme", "https://a/") == EndpointHealth(NOW, gone=True)
    assert await deliveries.endpoint_health("beta", "https://a/") == EndpointHealth()
    assert await deliveries.endpoint_health("acme", "https://b/") == EndpointHealth()
    await deliveries.endpoint_works("acme", "https://a/")
    assert await deliveries.endpoint_health("acme", "https://a/") == EndpointHealth()


async def test_what_is_known_of_an_endpoint_is_forgotten_in_time(record: RedisRecord) -> None:
    await record.deliveries.endpoint_failed("acme", "https://a/", now=NOW, gone=True, ttl=1)

    async def forgotten() -> bool:
        return await record.deliveries.endpoint_health("acme", "https://a/") == EndpointHealth()

    assert await eventually_async(forgotten, within=5, what="the endpoint to be forgotten")
