from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.task import EventType, TaskEvent, TaskSpec, TaskStatus, Webhook
from shared.domain.webhooks import (
    LONGEST_RETRY_AFTER,
    Answer,
    DeliveryKey,
    DeliveryState,
    Failure,
    StandingEndpoint,
    WebhookDelivery,
    begin_again,
    deliveries_of,
    endpoints_of,
    give_up,
    judge,
    wants,
)

NOW = 1_700_000_000_000
TASK_ID = "0190d0a8-6f2e-7c3a-9b1d-2f4e6a8c0b5e"
SCHEDULE = (5_000, 30_000, 120_000)
HOOK = Webhook(url="https://example.org/hook")
ENDS = Webhook(url="https://example.org/ends", statuses=(TaskStatus.SUCCESS, TaskStatus.ERROR))
DELIVERY = WebhookDelivery(
    key=DeliveryKey(TASK_ID, 2, "0"), url=HOOK.url, event_type=EventType.STARTED, create_time=NOW - 1_000
)
REFUSED = Answer(status=500, failure=Failure.STATUS)


def event(type_: EventType, status: TaskStatus, sequence: int = 1) -> TaskEvent:
    return TaskEvent(task_id=TASK_ID, sequence=sequence, type=type_, status=status, attempt=1, time=NOW)


STORY = (
    event(EventType.SUBMITTED, TaskStatus.WAITING, 1),
    event(EventType.STARTED, TaskStatus.PROCESSING, 2),
    event(EventType.PROGRESSED, TaskStatus.PROCESSING, 3),
    event(EventType.SUCCEEDED, TaskStatus.SUCCESS, 4),
)


def test_an_endpoint_without_statuses_hears_of_every_change_of_status_and_of_no_progress() -> None:
    assert [e.sequence for e in STORY if wants(HOOK, e)] == [1, 2, 4]


def test_an_endpoint_with_statuses_hears_of_those() -> None:
    assert [e.sequence for e in STORY if wants(ENDS, e)] == [4]


def test_each_event_goes_to_each_endpoint_that_wants_it() -> None:
    spec = TaskSpec(type="a", webhooks=(HOOK, ENDS))
    audit = StandingEndpoint(name="audit", hook=HOOK)
    assert deliveries_of(spec, STORY[2:], [audit]) == ((4, "0"), (4, "1"), (4, "audit"))
    assert deliveries_of(TaskSpec(type="a"), STORY, []) == ()


@pytest.mark.parametrize(
    ("types", "labels", "fits"),
    [
        ((), {}, True),
        (("a", "b"), {}, True),
        (("b",), {}, False),
        ((), {"team": "red"}, True),
        ((), {"team": "blue"}, False),
        ((), {"team": "red", "missing": ""}, False),
        (("a",), {"team": "red"}, True),
    ],
)
def test_a_standing_endpoint_hears_of_the_tasks_that_fit(
    types: tuple[str, ...], labels: dict[str, str], fits: bool
) -> None:
    spec = TaskSpec(type="a", labels={"team": "red", "other": "x"})
    endpoint = StandingEndpoint(name="audit", hook=HOOK, types=frozenset(types), labels=labels)
    assert endpoint.fits(spec) is fits
    assert endpoints_of(spec, [endpoint]) == ({"audit": HOOK} if fits else {})


@given(st.uuids(), st.integers(1, 10**17), st.from_regex(r"[0-9]{1,2}|[a-z][a-z0-9_]{0,31}", fullmatch=True))
def test_a_delivery_is_found_by_its_id(task: object, sequence: int, endpoint: str) -> None:
    key = DeliveryKey(str(task), sequence, endpoint)
    assert DeliveryKey.of_id(key.id) == key


@pytest.mark.parametrize("text", ["", TASK_ID, f"{TASK_ID}-0-0", f"{TASK_ID}-1-", f"{TASK_ID}-1-A", f"{TASK_ID}-1-0\n"])
def test_what_is_no_delivery_id_names_none(text: str) -> None:
    assert DeliveryKey.of_id(text) is None


def test_an_accepted_delivery_is_delivered() -> None:
    after = judge(DELIVERY, Answer(status=204), NOW, SCHEDULE)
    assert (after.state, after.tries, after.last_status, after.last_error) == (DeliveryState.DELIVERED, 1, 204, "")
    assert (after.last_try_time, after.next_try_time, after.end_time) == (NOW, None, NOW)


def test_a_refused_delivery_is_tried_again_until_the_schedule_is_used_up() -> None:
    delivery, waits = DELIVERY, []
    while delivery.state is DeliveryState.PENDING:
        delivery = judge(delivery, REFUSED, NOW, SCHEDULE)
        if delivery.next_try_time is not None:
            waits.append(delivery.next_try_time - NOW)
    assert (delivery.state, delivery.tries, delivery.end_time) == (DeliveryState.FAILED, len(SCHEDULE) + 1, NOW)
    assert all(least <= wait <= least * 1.2 for wait, least in zip(waits, SCHEDULE, strict=True))


def test_no_two_tasks_wait_for_the_same_time() -> None:
    others = [
        judge(
            WebhookDelivery(key=DeliveryKey(TASK_ID, n, "0"), url="", event_type=EventType.STARTED, create_time=0),
            REFUSED,
            0,
            SCHEDULE,
        )
        for n in range(1, 30)
    ]
    assert len({other.next_try_time for other in others}) > 20


@given(st.integers(0, 10 * LONGEST_RETRY_AFTER))
def test_the_endpoints_own_wish_is_honoured_within_a_day(asked: int) -> None:
    after = judge(DELIVERY, Answer(status=429, failure=Failure.STATUS, retry_after=asked), NOW, SCHEDULE)
    assert after.next_try_time is not None
    assert after.next_try_time - NOW >= min(asked, LONGEST_RETRY_AFTER)
    assert after.next_try_time - NOW <= max(LONGEST_RETRY_AFTER, SCHEDULE[0] * 2)


@pytest.mark.parametrize("failure", [failure for failure in Failure if failure.ends_it])
def test_some_failures_end_it_at_once(failure: Failure) -> None:
    after = judge(DELIVERY, Answer(failure=failure), NOW, SCHEDULE)
    assert (after.state, after.tries) == (DeliveryState.FAILED, 1)


def test_giving_up_without_a_try_says_why() -> None:
    after = give_up(DELIVERY, Failure.DISABLED, NOW)
    assert (after.state, after.tries, after.last_try_time, after.end_time) == (DeliveryState.FAILED, 0, None, NOW)
    assert after.last_error == "The endpoint is disabled, since it has only failed for too long."


@given(st.lists(st.sampled_from([REFUSED, Answer(status=410, failure=Failure.GONE), Answer(status=200)]), max_size=6))
def test_a_delivery_that_begins_again_is_as_new_and_keeps_its_id(answers: list[Answer]) -> None:
    delivery = DELIVERY
    for answer in answers:
        delivery = judge(delivery, answer, NOW, SCHEDULE)
    again = begin_again(delivery, NOW + 5)
    assert again.next_try_time == NOW + 5
    assert begin_again(DELIVERY, NOW + 5) == again
