"""Reading lists page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskcast.v1 import admin_service_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from taskcast.client.connection import Connection
    from taskcast.v1 import task_pb2


async def list_tasks(
    connection: Connection, filter_: task_service_pb2.TaskFilter | None, *, page_size: int
) -> AsyncGenerator[task_pb2.Task, None]:
    """The tasks that match, newest first; each page is asked for when the one before has been used up."""
    request = task_service_pb2.ListTasksRequest(page_size=page_size, filter=filter_)
    while True:
        response = await connection.call(connection.tasks.ListTasks, request)
        for task in response.tasks:
            yield task
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token


async def list_deliveries(
    connection: Connection, filter_: admin_service_pb2.WebhookDeliveryFilter | None, *, page_size: int
) -> AsyncGenerator[admin_service_pb2.WebhookDelivery, None]:
    """The webhook deliveries that match, newest first; read as `list_tasks` reads."""
    request = admin_service_pb2.ListWebhookDeliveriesRequest(page_size=page_size, filter=filter_)
    while True:
        response = await connection.call(connection.admin.ListWebhookDeliveries, request)
        for delivery in response.deliveries:
            yield delivery
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token
