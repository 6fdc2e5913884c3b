"""AdminService: what operators use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.rpc.task_servicer import TENANT
from shared.codec import report_to_proto, to_duration
from shared.domain.task import TaskPriority
from taskcast.v1 import admin_service_pb2 as pb
from taskcast.v1 import admin_service_pb2_grpc as rpc

if TYPE_CHECKING:
    from typing import Any

    import grpc

    from gateway_service.rpc.deliveries import DeliveryCalls
    from gateway_service.use_cases.list_queues import ListQueues, ListWorkers, QueueStanding

    Context = grpc.aio.ServicerContext[Any, Any]

RATE_SECONDS = 60
"""The time over which `QueueCounts.ended` counts."""


class AdminServicer(rpc.AdminServiceServicer):
    """The contract's AdminService. Errors are raised, and answered by the interceptor's table."""

    def __init__(self, *, queues: ListQueues, workers: ListWorkers, deliveries: DeliveryCalls) -> None:
        self._queues = queues
        self._workers = workers
        self._deliveries = deliveries

    async def ListQueues(self, request: pb.ListQueuesRequest, context: Context) -> pb.ListQueuesResponse:
        """The queues as they stand."""
        return pb.ListQueuesResponse(queues=[queue_to_proto(queue) for queue in await self._queues()])

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        """The workers as they reported last."""
        return pb.ListWorkersResponse(workers=[report_to_proto(report) for report in await self._workers()])

    async def ListWebhookDeliveries(
        self, request: pb.ListWebhookDeliveriesRequest, context: Context
    ) -> pb.ListWebhookDeliveriesResponse:
        """One page of webhook deliveries."""
        return await self._deliveries.list(TENANT, request)

    async def RedeliverWebhook(
        self, request: pb.RedeliverWebhookRequest, context: Context
    ) -> pb.RedeliverWebhookResponse:
        """Send one webhook again, or all that were given up for an endpoint."""
        return await self._deliveries.redeliver(TENANT, request)


def queue_to_proto(queue: QueueStanding) -> pb.Queue:
    """The message of one queue."""
    counts = queue.counts
    return pb.Queue(
        name=counts.name,
        waiting=pb.WaitingTasks(
            low=counts.waiting.get(TaskPriority.LOW, 0),
            normal=counts.waiting.get(TaskPriority.NORMAL, 0),
            high=counts.waiting.get(TaskPriority.HIGH, 0),
        ),
        running=counts.running,
        delayed=counts.delayed,
        oldest_waiting_age=None if counts.oldest_waiting is None else to_duration(counts.oldest_waiting),
        consumers=queue.consumers,
        rate=counts.ended / RATE_SECONDS,
    )
