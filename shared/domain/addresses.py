"""Where webhooks may go: which addresses and ports, and which text of a host is an address in disguise."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ANY_PORT = ((1, 65_535),)

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_SPECIAL = (ipaddress.IPv4Network("192.0.0.0/24"), ipaddress.IPv4Network("192.88.99.0/24"))
"""Assigned to protocols; some versions of Python take parts of them to be global."""

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where webhooks may go: to public addresses, and to the `allowed` networks though they be private."""

    allowed: tuple[Network, ...] = ()
    ports: tuple[tuple[int, int], ...] = ANY_PORT
    """Ranges, first and last port."""

    def permits(self, address: Address) -> bool:
        """Whether `address`, and every other address that hides in it, is public or allowed."""
        return all(self._permits_one(each) for each in _all_in(address))

    def permits_port(self, port: int) -> bool:
        """Whether a webhook may go to this port."""
        return any(first <= port <= last for first, last in self.ports)

    def objection(self, url: str) -> str | None:
        """Why a webhook may not go to `url`, as far as that shows without DNS; None if nothing speaks against it.

        The URL is one that `urlsplit` takes, with a host.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port if parts.port is not None else 443 if parts.scheme == "https" else 80
        if not self.permits_port(port):
            return f"must name a port that this server sends webhooks to, and {port} is none"
        try:
            address = literal_address(host)
        except ValueError:
            return "must have a host that is a name or an address"
        if address is not None and not self.permits(address):
            return "must not name an address that is private, local or otherwise not public"
        return None

    def _permits_one(self, address: Address) -> bool:
        # A network of the other family does not contain the address, nor does asking raise.
        return any(address in network for network in self.allowed) or _is_public(address)


def literal_address(host: str) -> Address | None:
    """The address that a URL's host is, in whatever notation resolvers take; None if it is a name.

    Raises ValueError for what is neither, such as `1.2.3.4.5` or `a..b`.
    """
    if ":" in host:
        return ipaddress.IPv6Address(host)
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _of_numbers(labels)
    try:
        ascii_labels = host.removesuffix(".").encode("idna").decode("ascii").split(".")
    except UnicodeError as error:
        raise ValueError(f"{host!r} is no host name") from error
    if not all(_LABEL.fullmatch(label) for label in ascii_labels):
        raise ValueError(f"{host!r} is no host name")
    return None


def _of_numbers(labels: list[str]) -> ipaddress.IPv4Address:
    """As inet_aton reads it: up to four numbers, decimal, octal or hexadecimal, the last of which fills the rest."""
    if len(labels) > 4:
        raise ValueError("an IPv4 address has at most four numbers")
    numbers = [_number(label) for label in labels]
    if any(number > 255 for number in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise ValueError("a number of an IPv4 address is too large")
    value = sum(number << 8 * (3 - place) for place, number in enumerate(numbers[:-1]))
    return ipaddress.IPv4Address(value + numbers[-1])


def _number(label: str) -> int:
    if not _NUMBER.fullmatch(label):
        raise ValueError(f"{label!r} is no number of an IPv4 address")
    if label[:2] in {"0x", "0X"}:
        return int(label[2:] or "0", 16)
    return int(label, 8) if len(label) > 1 and label.startswith("0") else int(label)


def _all_in(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 address that it only wraps; and those that gateways would send it on to."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    if not any(address in network for network in _NAT64):
        yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if any(address in network for network in _NAT64):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
