"""Tries one delivery: whether it may go now, what it says, what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.domain.task import EventType
from shared.domain.webhooks import Answer, Failure, endpoint_of, give_up, judge
from shared.failpoints import failpoint
from shared.metrics import WEBHOOK_TRIES, WEBHOOK_TRY_SECONDS
from worker_service.webhooks.hosts import HostBusyError
from worker_service.webhooks.message import body_of, signed

if TYPE_CHECKING:
    from shared.domain.task import Millis, Task, TaskEvent, Webhook
    from shared.domain.webhooks import WebhookDelivery
    from shared.ports import Clock, Record
    from shared.webhook_secrets import Secrets
    from worker_service.webhooks.health import Health
    from worker_service.webhooks.hosts import Hosts
    from worker_service.webhooks.sender import Sender


class NotNowError(Exception):
    """The delivery was not tried; it may be `until` this time."""

    def __init__(self, until: Millis) -> None:
        self.until = until
        super().__init__(f"not before {until}")


class Courier:
    """One process's way to all endpoints."""

    def __init__(
        self,
        record: Record,
        clock: Clock,
        sender: Sender,
        hosts: Hosts,
        health: Health,
        *,
        secrets: Secrets,
        schedule: tuple[Millis, ...],
        concurrency: int,
    ) -> None:
        """`schedule`: the waits between tries; `concurrency`: tries at once, to all hosts together."""
        self._record = record
        self._clock = clock
        self._sender = sender
        self._hosts = hosts
        self._health = health
        self._secrets = secrets
        self._schedule = schedule
        self._tries = asyncio.Semaphore(concurrency)

    async def deliver(self, task: Task, event: TaskEvent, hook: Webhook, delivery: WebhookDelivery) -> WebhookDelivery:
        """The delivery after one more try, or given up without.

        Raises NotNowError if its time has not come, or that of its host or endpoint; StoreUnavailableError.
        """
        now = self._clock.now()
        if delivery.next_try_time is not None and delivery.next_try_time > now:
            raise NotNowError(delivery.next_try_time)
        place = urlsplit(hook.url)
        secrets = self._secrets.of(task.tenant, place.hostname or "")
        if not secrets:
            return judge(delivery, Answer(failure=Failure.UNSIGNED), now, self._schedule)
        try:
            async with self._hosts.slot(place.netloc), self._tries:
                admission = await self._health.admit(task.tenant, endpoint_of(hook.url), self._clock.now())
                if admission.disabled is not None:
                    return give_up(delivery, admission.disabled, self._clock.now())
                if admission.wait_until is not None:
                    raise NotNowError(admission.wait_until)
                answer = await self._try(task, event, hook, delivery, secrets)
        except HostBusyError as busy:
            raise NotNowError(self._clock.now() + round(busy.wait * 1_000)) from None
        now = self._clock.now()
        await self._health.note(task.tenant, endpoint_of(hook.url), answer, now)
        return judge(delivery, answer, now, self._schedule)

    async def _try(
        self, task: Task, event: TaskEvent, hook: Webhook, delivery: WebhookDelivery, secrets: tuple[str, ...]
    ) -> Answer:
        if event.type is EventType.SUCCEEDED:
            # The log holds no results.
            whole = await self._record.read(task.id, payload=False)
            event = replace(event, result=whole.result if whole else None)
        now = self._clock.now()
        message = signed(hook, delivery.key.id, body_of(event), secrets, now)
        with WEBHOOK_TRY_SECONDS.time():
            answer = await self._sender.send(message, now)
        failpoint("webhook.sent")
        WEBHOOK_TRIES.labels("accepted" if answer.failure is None else answer.failure.name.lower()).inc()
        return answer
