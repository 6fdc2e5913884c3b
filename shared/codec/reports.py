"""Between a worker's report and the public `Worker` message, which is also what is stored."""

from __future__ import annotations

from shared.codec.fields import from_timestamp, to_timestamp
from shared.ports import WorkerReport
from taskcast.v1 import admin_service_pb2


def report_to_proto(report: WorkerReport) -> admin_service_pb2.Worker:
    """The public message of a report."""
    return admin_service_pb2.Worker(
        name=report.name,
        types=report.types,
        queues=report.queues,
        slots=report.slots,
        running=report.running,
        last_heartbeat_time=to_timestamp(report.heartbeat_time),
        version=report.version,
        start_time=to_timestamp(report.start_time),
    )


def encode_report(report: WorkerReport) -> bytes:
    """A report as the catalogue keeps it."""
    return report_to_proto(report).SerializeToString()


def decode_report(body: bytes) -> WorkerReport:
    """The report that `encode_report` was given."""
    message = admin_service_pb2.Worker.FromString(body)
    return WorkerReport(
        name=message.name,
        types=tuple(message.types),
        queues=tuple(message.queues),
        slots=message.slots,
        running=message.running,
        version=message.version,
        start_time=from_timestamp(message.start_time),
        heartbeat_time=from_timestamp(message.last_heartbeat_time),
    )
