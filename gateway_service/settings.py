"""The gateway's settings."""

from __future__ import annotations

from pydantic import Field

from shared.settings import CommaSeparated, Seconds, SharedSettings


class GatewaySettings(SharedSettings):
    """What only the gateway reads. The alias of a field is its environment variable."""

    grpc_listen: str = Field("127.0.0.1:50051", alias="GATEWAY_GRPC_LISTEN", pattern=r"^(\S+:\d{1,5}|unix:\S+)$")
    http_listen: str = Field("127.0.0.1:8080", alias="GATEWAY_HTTP_LISTEN", pattern=r"^(\S+:\d{1,5})?$")
    cors_origins: CommaSeparated = Field((), alias="GATEWAY_HTTP_CORS_ORIGINS")
    processes: int = Field(1, alias="GATEWAY_PROCESSES", ge=1, le=256)
    share_port: bool = Field(False, alias="GATEWAY_SHARE_PORT")
    drain: Seconds = Field(10.0, alias="GATEWAY_DRAIN_SECONDS")
    call_deadline: Seconds = Field(30.0, alias="GATEWAY_CALL_DEADLINE_SECONDS")
    max_calls: int = Field(1_000, alias="GATEWAY_MAX_CALLS", ge=1)
    max_watches: int = Field(10_000, alias="GATEWAY_MAX_WATCHES", ge=1)
    max_undispatched: int = Field(10_000, alias="TASKCAST_MAX_UNDISPATCHED", ge=1)
    max_payload_bytes: int = Field(1 << 20, alias="TASKCAST_MAX_PAYLOAD_BYTES", ge=1, le=64 << 20)
    timeout: float = Field(0.0, alias="TASKCAST_TIMEOUT_SECONDS", ge=0, le=315_360_000)
    retention: float = Field(86_400.0, alias="TASKCAST_RETENTION_SECONDS", ge=0, le=315_360_000)
