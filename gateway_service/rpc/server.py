"""The gRPC server: services, reflection, health, and the options that long watches need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway_service.rpc.interceptors import ErrorInterceptor
from gateway_service.rpc.measuring import MeasuringInterceptor
from taskcast.v1 import admin_service_pb2, admin_service_pb2_grpc, task_service_pb2, task_service_pb2_grpc

if TYPE_CHECKING:
    from gateway_service.call_bound import CallBound
    from gateway_service.rpc.admin_servicer import AdminServicer
    from gateway_service.rpc.task_servicer import TaskServicer

TASK_SERVICE = task_service_pb2.DESCRIPTOR.services_by_name["TaskService"].full_name
ADMIN_SERVICE = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name

MESSAGE_OVERHEAD = 4 << 20
"""A request may be this much larger than a payload: a full batch, labels, webhooks."""


class RpcServer:
    """Serves the contract on one address."""

    def __init__(
        self,
        tasks: TaskServicer,
        admin: AdminServicer,
        *,
        listen: str,
        share_port: bool,
        bound: CallBound,
        most_at_once: int,
        max_payload_bytes: int,
    ) -> None:
        """`listen` is `host:port` or `unix:path`; with `share_port` other processes may serve the same port.

        Raises OSError with a sentence if the address cannot be had.
        """
        self._server = grpc.aio.server(
            interceptors=[MeasuringInterceptor(), ErrorInterceptor(bound)],
            # The last resort, which answers without details; the two bounds below it answer with them.
            maximum_concurrent_rpcs=most_at_once,
            options=[
                ("grpc.so_reuseport", int(share_port)),
                ("grpc.max_receive_message_length", max_payload_bytes + MESSAGE_OVERHEAD),
                # Watches are quiet for minutes: clients may ping every 10 s, also without calls, and we ping too.
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.http2.max_ping_strikes", 0),
            ],
        )
        self._health = health.aio.HealthServicer()
        task_service_pb2_grpc.add_TaskServiceServicer_to_server(tasks, self._server)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(admin, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (TASK_SERVICE, ADMIN_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        try:
            self.port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {listen}: is the port taken, the address one of this host's?") from error

    async def start(self) -> None:
        """Begin to answer. Health says NOT_SERVING until `set_serving`."""
        await self.set_serving(serving=False)
        await self._server.start()

    async def set_serving(self, *, serving: bool) -> None:
        """Tell health checks whether calls can succeed right now."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", TASK_SERVICE, ADMIN_SERVICE):
            await self._health.set(service, status)

    async def stop(self, grace: float) -> None:
        """Take no new calls, give those under way `grace` seconds, then cut them off."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)
