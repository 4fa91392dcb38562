"""Which IP addresses nobody may lead us to, as an explicit table. Resolves nothing.

`ipaddress.is_private` is not enough: carrier-grade NAT, NAT64 forms of 127.0.0.1, 6to4, multicast
and site-local addresses pass it. Source: IANA special-purpose registries (RFC 6890 and later).
"""

import ipaddress
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an address is refused. `waivable`: an operator's allowed host *name* may lead there.

    Cloud metadata, multicast and the like are reached by an allowed network only, never by a name:
    whoever controls the name's DNS would otherwise choose them.
    """

    reason: str
    waivable: bool


_TABLE: tuple[tuple[str, str, bool], ...] = (
    ("0.0.0.0/8", "this host", False),
    ("10.0.0.0/8", "private", True),
    ("100.64.0.0/10", "carrier-grade NAT", True),
    ("100.100.100.200/32", "cloud metadata", False),
    ("127.0.0.0/8", "loopback", True),
    ("169.254.0.0/16", "link-local or cloud metadata", False),
    ("172.16.0.0/12", "private", True),
    ("192.0.0.0/24", "IETF protocol assignments or cloud metadata", False),
    ("192.0.2.0/24", "documentation", False),
    ("192.31.196.0/24", "AS112", False),
    ("192.52.193.0/24", "AMT", False),
    ("192.88.99.0/24", "6to4 relay", False),
    ("192.168.0.0/16", "private", True),
    ("192.175.48.0/24", "AS112", False),
    ("198.18.0.0/15", "benchmarking", True),
    ("198.51.100.0/24", "documentation", False),
    ("203.0.113.0/24", "documentation", False),
    ("168.63.129.16/32", "cloud platform", False),
    ("224.0.0.0/4", "multicast", False),
    ("240.0.0.0/4", "reserved or broadcast", False),
    ("::1/128", "loopback", True),
    ("::/8", "unspecified, loopback or an embedded IPv4 address", False),
    ("64:ff9b::/96", "NAT64", False),
    ("64:ff9b:1::/48", "local NAT64", False),
    ("100::/64", "discard", False),
    ("2001::/23", "IETF protocol assignments or Teredo", False),
    ("2001:db8::/32", "documentation", False),
    ("2002::/16", "6to4", False),
    ("3fff::/20", "documentation", False),
    ("5f00::/16", "segment routing", False),
    ("fc00::/7", "unique local", True),
    ("fd00:ec2::/32", "cloud metadata", False),
    ("fe80::/10", "link-local", False),
    ("fec0::/10", "site-local", False),
    ("ff00::/8", "multicast", False),
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_RULES: tuple[tuple[Network, Refusal], ...] = tuple(
    sorted(
        ((ipaddress.ip_network(text), Refusal(why, waivable)) for text, why, waivable in _TABLE),
        key=lambda rule: -rule[0].prefixlen,
    )
)


def parse_address(text: str) -> Address:
    """Return the address that a connection to `text` would reach, an IPv4 one out of its mapping.

    Raises:
        ValueError: not an address in its standard notation.
    """
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address


def refusal(address: Address) -> Refusal | None:
    """Return why `address` may not be contacted, None when it is an ordinary public one.

    The most specific row of the table decides. IPv6 outside 2000::/3 is refused unseen.
    """
    for network, why in _RULES:
        if address.version == network.version and address in network:
            return why
    if address.version == 6 and address not in _GLOBAL_V6:
        return Refusal("not global unicast", waivable=False)
    return None
