"""Settings that both services share, and how settings are read: once, from the environment, at the edge."""

from __future__ import annotations

import sys
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.webhook_settings import WebhookSettings

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Settings = TypeVar("Settings", bound="SharedSettings")


def _split(value: object) -> object:
    """The parts of a text that has commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class SharedSettings(WebhookSettings):
    """What gateway and worker must agree on. The alias of a field is its environment variable."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    redis_url: str = Field("redis://localhost:6379", alias="REDIS_URL", pattern=r"^(rediss?|unix)://")
    rabbitmq_url: str = Field("amqp://localhost", alias="RABBITMQ_URL", pattern=r"^amqps?://")
    namespace: str = Field("taskcast", alias="TASKCAST_NAMESPACE", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")
    lease: Seconds = Field(10.0, alias="TASKCAST_LEASE_SECONDS", ge=0.5)
    store_deadline: Seconds = Field(3.0, alias="TASKCAST_STORE_DEADLINE_SECONDS")
    log_level: str = Field("INFO", alias="TASKCAST_LOG_LEVEL", pattern=r"^(?i:debug|info|warning|error)$")
    log_format: str = Field("auto", alias="TASKCAST_LOG_FORMAT", pattern=r"^(auto|console|json)$")


def read_settings(kind: type[Settings]) -> Settings:
    """Settings of `kind` from the environment.

    Stops the process with status 2 and a sentence for each variable that has a bad value.
    """
    try:
        return kind.model_validate({})
    except ValidationError as error:
        for problem in error.errors():
            variable = ".".join(str(part) for part in problem["loc"])
            # An address may hold a password, and this line may end up in a log.
            value = "" if variable.endswith(("_URL", "_SECRET")) else f"={problem['input']!r}"
            sys.stderr.write(f"{variable}{value} is not usable: {problem['msg']}.\n")
        raise SystemExit(2) from None
