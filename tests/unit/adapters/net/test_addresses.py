"""The deny table: which addresses are ordinary public ones."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.net.addresses import parse_address, refusal

REFUSED = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.254
169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1
192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255 168.63.129.16
:: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1
64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:a9fe:a9fe:: 3fff::1
fc00::1 fd00::1 fd00:ec2::254 fe80::1 febf::1 fec0::1 feff::1 ff02::1 4000::1
"""

PUBLIC = """
1.1.1.1 8.8.8.8 93.184.216.34 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 169.253.255.255
172.15.255.255 172.32.0.1 192.0.1.1 198.17.255.255 198.20.0.1 223.255.255.255 2606:4700::1111
2a00:1450:4001::1 2001:4860:4860::8888 ::ffff:8.8.8.8
"""


@pytest.mark.parametrize("text", REFUSED.split())
def test_address_that_is_not_public_is_refused(text: str) -> None:
    assert refusal(parse_address(text)) is not None


@pytest.mark.parametrize("text", PUBLIC.split())
def test_public_address_is_accepted(text: str) -> None:
    assert refusal(parse_address(text)) is None


@given(st.ip_addresses())
def test_table_refuses_whatever_the_standard_library_calls_not_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    judged = parse_address(str(address))

    assert judged.is_global or refusal(judged) is not None


def test_metadata_address_inside_a_waivable_network_is_not_waivable() -> None:
    why = refusal(parse_address("100.100.100.200"))
    around = refusal(parse_address("100.100.100.201"))

    assert why is not None
    assert not why.waivable
    assert around is not None
    assert around.waivable
