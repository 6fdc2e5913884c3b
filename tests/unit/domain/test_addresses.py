from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.addresses import Network, Reach, literal_address

PUBLIC = Reach()


def reach(*networks: str, ports: tuple[tuple[int, int], ...] = ((1, 65_535),)) -> Reach:
    allowed: tuple[Network, ...] = tuple(ipaddress.ip_network(network) for network in networks)
    return Reach(allowed=allowed, ports=ports)


@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8",
        "134744072",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_a_public_address_is_permitted(host: str) -> None:
    address = literal_address(host)
    assert address is not None
    assert PUBLIC.permits(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",  # noqa: S104  # What a webhook must not reach, not what anybody listens on.
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:a00:1",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "fc00::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "100::1",
    ],
)
def test_an_address_that_is_not_public_is_not_permitted_in_any_notation(host: str) -> None:
    address = literal_address(host)
    assert address is not None
    assert not PUBLIC.permits(address)
    bracketed = f"[{host}]" if ":" in host else host
    assert PUBLIC.objection(f"http://{bracketed}/hook") is not None


@pytest.mark.parametrize(
    "host", ["1.2.3.4.5", "256.1.1.1", "1.2.3.256", "4294967296", "08", "a..b", "-a.b", "", ".", "1.x.0x1"]
)
def test_what_is_neither_a_name_nor_an_address_is_refused(host: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # Whatever it says, the host is refused.
        literal_address(host)


@pytest.mark.parametrize("host", ["example.org", "example.org.", "localhost", "a_b.c", "bücher.example", "x1", "1x"])
def test_a_name_is_no_address(host: str) -> None:
    assert literal_address(host) is None


@given(st.ip_addresses(v=4))
def test_every_notation_of_an_address_is_the_address(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for text in (str(address), str(number), hex(number), f"0{number:o}", f"{number >> 24}.{number & 0xFFFFFF}"):
        assert literal_address(text) == address


@given(st.ip_addresses(v=4))
def test_wrapping_an_address_in_another_permits_nothing_new(address: ipaddress.IPv4Address) -> None:
    wrapped = [
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        str(ipaddress.IPv6Address((0x2002 << 112) | int(address) << 80)),
    ]
    for text in wrapped:
        assert PUBLIC.permits(ipaddress.IPv6Address(text)) <= PUBLIC.permits(address)


def test_an_allowed_network_is_permitted_though_private() -> None:
    allowing = reach("127.0.0.0/8", "::1/128")
    assert allowing.objection("http://127.0.0.1/") is None
    assert allowing.objection("http://[::1]/") is None
    assert allowing.objection("http://[::ffff:127.0.0.1]/") is None
    assert allowing.objection("http://10.0.0.1/") is not None


def test_a_port_is_judged_whether_written_or_not() -> None:
    web = reach(ports=((80, 80), (443, 443), (8_000, 8_999)))
    assert [web.objection(url) is None for url in ("http://a/", "https://a/", "http://a:8080/", "http://a:22/")] == [
        True,
        True,
        True,
        False,
    ]
    assert reach(ports=((443, 443),)).objection("http://a/") is not None
    assert PUBLIC.objection("http://a:0/") is not None
