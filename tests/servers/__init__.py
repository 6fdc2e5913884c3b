"""Private servers for tests: started on free loopback ports, with their own data, and gone afterwards."""

from __future__ import annotations

from tests.servers.ports import free_port
from tests.servers.processes import ServerProcess, ServerStartError, wait_until
from tests.servers.programs import ServerMissingError, ensure_browser, ensure_node, ensure_rabbitmq
from tests.servers.rabbitmq import PrivateRabbitMQ, RabbitMQFactory
from tests.servers.valkey import PrivateValkey, ValkeyFactory

__all__ = [
    "PrivateRabbitMQ",
    "PrivateValkey",
    "RabbitMQFactory",
    "ServerMissingError",
    "ServerProcess",
    "ServerStartError",
    "ValkeyFactory",
    "ensure_browser",
    "ensure_node",
    "ensure_rabbitmq",
    "free_port",
    "wait_until",
]
