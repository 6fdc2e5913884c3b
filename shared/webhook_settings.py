"""The settings of webhooks that gateways and workers must agree on."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from shared.domain.addresses import Reach
from shared.domain.submission import Limits, webhook_violations
from shared.domain.task import TaskStatus, Webhook
from shared.domain.webhooks import STANDING_NAME, StandingEndpoint
from shared.webhook_secrets import Secrets, parse_secrets, read_secrets, read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = {"url", "statuses", "headers", "types", "labels"}


class WebhookSettings(BaseSettings):
    """Which endpoints the service has, how deliveries are signed, and where they may go."""

    # The secret is shown in no log: not as part of the settings either.
    webhook_secret: str = Field("", alias="TASKCAST_WEBHOOK_SECRET", repr=False)
    webhook_secrets_file: str = Field("", alias="TASKCAST_WEBHOOK_SECRETS_FILE")
    webhooks_file: str = Field("", alias="TASKCAST_WEBHOOKS_FILE")
    webhook_allow: str = Field("", alias="TASKCAST_WEBHOOK_ALLOW")
    webhook_ports: str = Field("80,443,1024-65535", alias="TASKCAST_WEBHOOK_PORTS")

    @field_validator("webhook_secret", "webhook_secrets_file", "webhook_allow", "webhook_ports", "webhooks_file")
    @classmethod
    def _can_be_used(cls, value: str, info: ValidationInfo) -> str:
        match info.field_name:
            case "webhook_secret":
                parse_secrets(value)
            case "webhook_secrets_file":
                read_secrets(value)
            case "webhook_allow":
                _networks(value)
            case "webhook_ports":
                _ports(value)
            case _:
                _read_standing(value)
        return value

    @property
    def reach(self) -> Reach:
        """Where webhooks may go."""
        return Reach(allowed=_networks(self.webhook_allow), ports=_ports(self.webhook_ports))

    def read_webhook_secrets(self) -> Secrets:
        """What deliveries are signed with; reads the file."""
        return read_secrets(self.webhook_secrets_file, parse_secrets(self.webhook_secret))

    def read_standing_endpoints(self) -> tuple[StandingEndpoint, ...]:
        """The service's own endpoints; reads the file."""
        return _read_standing(self.webhooks_file)


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def _ports(text: str) -> tuple[tuple[int, int], ...]:
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{part.strip()!r} is neither a port nor a range like 8000-8999")
        ranges.append((int(first), int(last or first)))
        if not 1 <= ranges[-1][0] <= ranges[-1][1] <= 65_535:
            raise ValueError(f"{part.strip()!r} is no range of ports")
    return tuple(ranges)


def _read_standing(path: str) -> tuple[StandingEndpoint, ...]:
    """The endpoints of a TOML file: a table for each, by its name. Raises ValueError with a sentence."""
    return tuple(_standing(name, table) for name, table in read_toml(path).items())


def _standing(name: str, table: object) -> StandingEndpoint:
    if not STANDING_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an endpoint: a letter, then letters, digits and _, all in lower case")
    if not isinstance(table, dict) or not isinstance(table.get("url"), str):
        raise ValueError(f"{name} is no table with a url")  # noqa: TRY004  # Only a ValueError is a bad setting.
    if unknown := table.keys() - _KEYS:
        raise ValueError(f"{name} has {', '.join(sorted(unknown))}, which is none of {', '.join(sorted(_KEYS))}")
    hook = Webhook(
        url=table["url"],
        statuses=tuple(_status(name, word) for word in _words(name, table, "statuses")),
        headers=_pairs(name, table, "headers"),
    )
    # Whether it may go to where it points is judged when it is sent: the file may serve several installations.
    everywhere = Reach(allowed=(ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0")))
    for wrong in webhook_violations(name, hook, Limits(), everywhere):
        raise ValueError(f"{wrong.field} {wrong.description}")
    return StandingEndpoint(
        name=name, hook=hook, types=frozenset(_words(name, table, "types")), labels=_pairs(name, table, "labels")
    )


def _status(name: str, word: str) -> TaskStatus:
    if word not in TaskStatus.__members__:
        raise ValueError(f"{name}.statuses has {word!r}, which is none of {', '.join(TaskStatus.__members__)}")
    return TaskStatus[word]


def _words(name: str, table: Mapping[str, object], key: str) -> list[str]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"{name}.{key} is no list of strings")
    return value


def _pairs(name: str, table: Mapping[str, object], key: str) -> dict[str, str]:
    value = table.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"{name}.{key} is no table of strings")
    return value
