"""How each endpoint has been doing: the circuit breaker of this process, and what all processes know."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.breaker import CLOSED, Breaker, BreakerTerms, admit, after_failure, after_success
from shared.domain.webhooks import EndpointHealth, Failure

if TYPE_CHECKING:
    from shared.domain.task import Millis
    from shared.domain.webhooks import Answer
    from shared.ports import Deliveries

KNOWN_FOR: Millis = 5_000
"""What all processes know of an endpoint is asked for again after so long."""

MOST_ENDPOINTS = 10_000
"""Beyond so many the one that was longest without a webhook is forgotten here: its breaker starts closed again."""

WELL = EndpointHealth()

REMEMBERED: Millis = 86_400_000
"""An endpoint's failures are forgotten so long after it could have been disabled for the last of them."""

NOT_ITS_FAULT = frozenset({Failure.UNSIGNED, Failure.EVENT_LOST, Failure.UNKNOWN_ENDPOINT})


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a try may go: `disabled` says why never, `wait_until` why not now. Neither: it may."""

    disabled: Failure | None = None
    wait_until: Millis | None = None


@dataclass(slots=True)
class _Endpoint:
    breaker: Breaker = CLOSED
    health: EndpointHealth = WELL
    known_until: Millis = 0


class Health:
    """Asked before each try, and told after it."""

    def __init__(self, deliveries: Deliveries, terms: BreakerTerms, *, disable_after: Millis) -> None:
        self._deliveries = deliveries
        self._terms = terms
        self._disable_after = disable_after
        self._endpoints: OrderedDict[tuple[str, str], _Endpoint] = OrderedDict()

    async def admit(self, tenant: str, endpoint: str, now: Millis) -> Admission:
        """Whether a try may go to the endpoint. If it may, `note` must follow. Raises StoreUnavailableError."""
        known = self._known(tenant, endpoint)
        # Somebody may have enabled it a moment ago, and then it is to be sent to at once.
        if known.known_until <= now or known.health.disabled(now, self._disable_after) is not None:
            known.health = await self._deliveries.endpoint_health(tenant, endpoint)
            known.known_until = now + KNOWN_FOR
        if (disabled := known.health.disabled(now, self._disable_after)) is not None:
            return Admission(disabled=disabled)
        known.breaker, wait_until = admit(known.breaker, now, self._terms)
        return Admission(wait_until=wait_until)

    async def note(self, tenant: str, endpoint: str, answer: Answer, now: Millis) -> None:
        """What came of the try. Raises StoreUnavailableError."""
        known = self._known(tenant, endpoint)
        if answer.failure in NOT_ITS_FAULT:
            return
        if answer.failure is None:
            known.breaker = after_success(known.breaker)
            if known.health != WELL:
                known.health = WELL
                await self._deliveries.endpoint_works(tenant, endpoint)
            return
        known.breaker = after_failure(known.breaker, now, self._terms, asked=answer.retry_after or 0)
        gone = answer.failure is Failure.GONE
        ttl = self._disable_after + REMEMBERED
        await self._deliveries.endpoint_failed(tenant, endpoint, now=now, gone=gone, ttl=ttl)
        since = now if known.health.failing_since is None else known.health.failing_since
        known.health = EndpointHealth(since, gone=gone or known.health.gone)

    def _known(self, tenant: str, endpoint: str) -> _Endpoint:
        key = (tenant, endpoint)
        known = self._endpoints.pop(key, None) or _Endpoint()
        self._endpoints[key] = known
        if len(self._endpoints) > MOST_ENDPOINTS:
            self._endpoints.popitem(last=False)
        return known
