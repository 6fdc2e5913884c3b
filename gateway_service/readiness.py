"""Whether this gateway can serve right now, and if not, why."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.ports import Broker


class Readiness:
    """What health checks of gRPC and HTTP are answered from."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.record_answers = False
        self.stopping = False

    @property
    def has_broker(self) -> bool:
        """Whether a dispatch could be confirmed right now."""
        return self._broker.is_connected

    def obstacles(self) -> list[str]:
        """What keeps calls from succeeding. The broker is not among it: submits, reads and watches go on without."""
        found = []
        if self.stopping:
            found.append("this gateway is stopping")
        if not self.record_answers:
            found.append("the task record does not answer")
        return found
