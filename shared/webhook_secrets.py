"""The secrets that webhooks are signed with: by tenant and host, from a file, and one for all the rest."""

from __future__ import annotations

import base64
import binascii
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, as Standard Webhooks 1.0 has it."""

ANY = "*"

Secret = str


class Secrets:
    """Finds the secrets for a delivery. There are several during a rotation: all of them sign."""

    def __init__(
        self, default: tuple[Secret, ...] = (), by_tenant: Mapping[str, Mapping[str, tuple[Secret, ...]]] | None = None
    ) -> None:
        """`by_tenant` holds for each tenant, or `*`, the secrets for each host, or `*`."""
        self._default = default
        self._by_tenant = by_tenant or {}

    def of(self, tenant: str, host: str) -> tuple[Secret, ...]:
        """The most particular secrets there are: of tenant and host, the tenant, the host, or for all the rest."""
        for owner, place in ((tenant, host), (tenant, ANY), (ANY, host)):
            if found := self._by_tenant.get(owner, {}).get(place):
                return found
        return self._default


def parse_secrets(text: str) -> tuple[Secret, ...]:
    """Comma-separated secrets. Raises ValueError, with a sentence that does not hold the secret."""
    secrets = tuple(part.strip() for part in text.split(",") if part.strip())
    for secret in secrets:
        _check(secret)
    return secrets


def read_secrets(path: str, default: tuple[Secret, ...] = ()) -> Secrets:
    """The secrets of a TOML file with a table for each tenant, in which each host has one secret or a list.

    `*` stands for every tenant or every host. Raises ValueError for a file that cannot be read or used.
    """
    by_tenant: dict[str, dict[str, tuple[Secret, ...]]] = {}
    for tenant, hosts in read_toml(path).items():
        if not isinstance(hosts, dict):
            raise ValueError(f"{tenant!r} is no table of hosts")  # noqa: TRY004  # Only a ValueError is a bad setting.
        by_tenant[tenant] = {host.lower(): _secrets_at(f"{tenant}.{host}", value) for host, value in hosts.items()}
    return Secrets(default, by_tenant)


def read_toml(path: str) -> dict[str, object]:
    """A TOML file; an empty path is an empty file. Raises ValueError for one that cannot be read."""
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The message of the parser may quote the line, and with it a secret.
        raise ValueError("the file is no TOML") from error


def _secrets_at(place: str, value: object) -> tuple[Secret, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed or not all(isinstance(secret, str) for secret in listed):
        raise ValueError(f"{place} is neither a secret nor a list of them")
    for secret in listed:
        try:
            _check(secret)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    return tuple(listed)


def _check(secret: str) -> None:
    try:
        size = len(base64.b64decode(secret.removeprefix(PREFIX), validate=True)) if secret.startswith(PREFIX) else 0
    except binascii.Error:
        size = 0
    if not SHORTEST <= size <= LONGEST:
        raise ValueError(f"a secret is {PREFIX} and {SHORTEST} to {LONGEST} bytes in base64")
