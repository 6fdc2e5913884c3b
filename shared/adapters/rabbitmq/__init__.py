"""The broker on RabbitMQ 3.10 and later."""

from shared.adapters.rabbitmq.broker import RabbitBroker

__all__ = ["RabbitBroker"]
