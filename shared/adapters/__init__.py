"""What stands behind the ports: Redis for the record, RabbitMQ or this process for the broker."""
