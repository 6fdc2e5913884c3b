"""Webhooks: who hears of which event, and what follows from an endpoint's answer.

A webhook is a watch that must succeed. Its events are those of the task's log; for each endpoint of a task the
record keeps how far it has come. An endpoint of the task itself is known by its index in `TaskSpec.webhooks`
("0", "1", …), one of the service by its name, which begins with a letter.
"""

from __future__ import annotations

import enum
import re
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.domain.task import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.domain.task import Millis, TaskEvent, TaskSpec, Webhook

JITTER = 0.2
"""A wait is lengthened by up to this share, so that deliveries which failed together do not return together."""

LONGEST_RETRY_AFTER: Millis = 86_400_000
"""An endpoint that asks for more patience than this is not obeyed."""

STANDING_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

_ID = re.compile(
    r"(?P<task>[0-9a-f-]{36})-(?P<sequence>[1-9][0-9]{0,17})-(?P<endpoint>[0-9]{1,3}|[a-z][a-z0-9_]{0,31})"
)


class DeliveryState(enum.IntEnum):
    """How a delivery stands. The numbers are those of the public contract."""

    PENDING = 1
    DELIVERED = 2
    FAILED = 3


class Failure(enum.StrEnum):
    """Why a try did not succeed, or a delivery was given up without one."""

    TIMEOUT = "the endpoint did not answer in time"
    CONNECTION = "the endpoint could not be reached, or broke off"
    TLS = "the endpoint's certificate could not be trusted"
    ADDRESS = "the endpoint's address is not one that webhooks may go to"
    BAD_ANSWER = "the endpoint's answer was not HTTP"
    STATUS = "the endpoint did not accept"
    REDIRECT = "the endpoint redirected, which is not followed"
    GONE = "the endpoint wants no more (410)"
    DISABLED = "the endpoint is disabled, since it has only failed for too long"
    UNKNOWN_ENDPOINT = "the settings name this endpoint no longer"
    UNSIGNED = "there is no secret to sign it with"
    EVENT_LOST = "the event is no longer in the task's log"

    @property
    def ends_it(self) -> bool:
        """Whether trying again is of no use."""
        return self in {Failure.GONE, Failure.DISABLED, Failure.UNKNOWN_ENDPOINT, Failure.EVENT_LOST}


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingEndpoint:
    """An endpoint of the service: it hears of every task that has one of `types` and all of `labels`; empty is any."""

    name: str
    hook: Webhook
    types: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)

    def fits(self, spec: TaskSpec) -> bool:
        """Whether it hears of the task."""
        if self.types and spec.type not in self.types:
            return False
        return all(spec.labels.get(key) == value for key, value in self.labels.items())


@dataclass(frozen=True, slots=True)
class DeliveryKey:
    """Which event, to which endpoint of the task."""

    task_id: str
    sequence: int
    endpoint: str

    @property
    def id(self) -> str:
        """The delivery's public name: the header webhook-id, the same in every try."""
        return f"{self.task_id}-{self.sequence}-{self.endpoint}"

    @staticmethod
    def of_id(text: str) -> DeliveryKey | None:
        """The key behind a public name, None if it is none."""
        match = _ID.fullmatch(text)
        return DeliveryKey(match["task"], int(match["sequence"]), match["endpoint"]) if match else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """One event on its way to one endpoint."""

    key: DeliveryKey
    url: str
    event_type: EventType
    create_time: Millis
    state: DeliveryState = DeliveryState.PENDING
    tries: int = 0
    last_status: int = 0
    last_error: str = ""
    last_try_time: Millis | None = None
    next_try_time: Millis | None = None
    end_time: Millis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a try. `status` is 0 without an HTTP answer; `failure` is None if the endpoint accepted."""

    status: int = 0
    failure: Failure | None = None
    retry_after: Millis | None = None


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """Since when an endpoint has done nothing but fail, None if it has not; and whether it asked to be left alone."""

    failing_since: Millis | None = None
    gone: bool = False

    def disabled(self, now: Millis, after: Millis) -> Failure | None:
        """Why nothing is sent to it: it wants no more, or has failed for longer than `after`. None: it is sent to."""
        if self.gone:
            return Failure.GONE
        failing = self.failing_since is not None and now - self.failing_since >= after
        return Failure.DISABLED if failing else None


def endpoints_of(spec: TaskSpec, standing: Iterable[StandingEndpoint]) -> dict[str, Webhook]:
    """Who may hear of the task: its own endpoints and the service's, by what they are known as."""
    own = {str(index): hook for index, hook in enumerate(spec.webhooks)}
    return own | {endpoint.name: endpoint.hook for endpoint in standing if endpoint.fits(spec)}


def wants(hook: Webhook, event: TaskEvent) -> bool:
    """Whether the endpoint hears of the event: a change of status to one that it asked for."""
    return event.type is not EventType.PROGRESSED and (not hook.statuses or event.status in hook.statuses)


def deliveries_of(
    spec: TaskSpec, events: Iterable[TaskEvent], standing: Sequence[StandingEndpoint]
) -> tuple[tuple[int, str], ...]:
    """The deliveries that `events` of the task call for: sequence and endpoint of each."""
    if not (spec.webhooks or standing):
        return ()
    hooks = endpoints_of(spec, standing)
    return tuple((event.sequence, name) for event in events for name, hook in hooks.items() if wants(hook, event))


def judge(delivery: WebhookDelivery, answer: Answer, now: Millis, schedule: tuple[Millis, ...]) -> WebhookDelivery:
    """The delivery after a try that ended at `now`: accepted, given up, or with the time of the next try.

    `schedule` holds the waits between tries, so there is one try more than it has entries.
    """
    tried = replace(
        delivery,
        tries=delivery.tries + 1,
        last_status=answer.status,
        last_try_time=now,
        next_try_time=None,
        last_error=explain(answer),
    )
    if answer.failure is None:
        return replace(tried, state=DeliveryState.DELIVERED, end_time=now)
    if answer.failure.ends_it or tried.tries > len(schedule):
        return replace(tried, state=DeliveryState.FAILED, end_time=now)
    wait = schedule[tried.tries - 1] * (1 + JITTER * _draw(tried))
    asked = min(answer.retry_after or 0, LONGEST_RETRY_AFTER)
    return replace(tried, next_try_time=now + max(round(wait), asked))


def give_up(delivery: WebhookDelivery, failure: Failure, now: Millis) -> WebhookDelivery:
    """The delivery, given up without another try."""
    return replace(
        delivery,
        state=DeliveryState.FAILED,
        last_error=explain(Answer(failure=failure)),
        next_try_time=None,
        end_time=now,
    )


def begin_again(delivery: WebhookDelivery, now: Millis) -> WebhookDelivery:
    """The delivery as if it had never been tried, to be sent at once."""
    return replace(
        delivery,
        state=DeliveryState.PENDING,
        tries=0,
        last_status=0,
        last_error="",
        last_try_time=None,
        next_try_time=now,
        end_time=None,
    )


def endpoint_of(url: str) -> str:
    """What of a URL names the endpoint: all but the query and fragment, which often differ from task to task."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path or '/'}"


def explain(answer: Answer) -> str:
    """A sentence on what went wrong, without a word of the endpoint's; empty if nothing did."""
    if answer.failure is None:
        return ""
    status = f" (HTTP {answer.status})" if answer.status and answer.failure is not Failure.GONE else ""
    return f"{answer.failure.value[0].upper()}{answer.failure.value[1:]}{status}."


def _draw(delivery: WebhookDelivery) -> float:
    """A number from 0 to 1 that looks like chance and is always the same for the same try."""
    return zlib.crc32(f"{delivery.key.id}/{delivery.tries}".encode()) / 0xFFFFFFFF
