"""AdminService: part of the contract, served by a later version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_service.faults import NotImplementedYetError
from taskcast.v1 import admin_service_pb2_grpc as rpc

if TYPE_CHECKING:
    from typing import Any

    import grpc

    from taskcast.v1 import admin_service_pb2 as pb

    Context = grpc.aio.ServicerContext[Any, Any]


class AdminServicer(rpc.AdminServiceServicer):
    """The contract's AdminService. Every method answers UNIMPLEMENTED, with details as all errors have."""

    async def ListQueues(self, request: pb.ListQueuesRequest, context: Context) -> pb.ListQueuesResponse:
        """Not served yet."""
        raise NotImplementedYetError("ListQueues")

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        """Not served yet."""
        raise NotImplementedYetError("ListWorkers")

    async def ListWebhookDeliveries(
        self, request: pb.ListWebhookDeliveriesRequest, context: Context
    ) -> pb.ListWebhookDeliveriesResponse:
        """Not served yet."""
        raise NotImplementedYetError("ListWebhookDeliveries")

    async def RedeliverWebhook(
        self, request: pb.RedeliverWebhookRequest, context: Context
    ) -> pb.RedeliverWebhookResponse:
        """Not served yet."""
        raise NotImplementedYetError("RedeliverWebhook")
