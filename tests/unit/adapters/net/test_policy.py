"""What an operator's allow-list opens, and what stays closed."""

import pytest

from adapters.net.policy import LOOPBACK, AddressPolicy
from domain.errors import AddressRefusedError, SetupError

PUBLIC = "93.184.216.34"


def test_public_address_on_a_web_port_is_accepted() -> None:
    assert AddressPolicy().judge("example.com", 443, [PUBLIC]) == [PUBLIC]


@pytest.mark.parametrize("port", [22, 25, 5432, 6379, 7233, 8233 + 1000])
def test_other_ports_are_refused(port: int) -> None:
    with pytest.raises(AddressRefusedError, match=f"port {port}"):
        AddressPolicy().judge("example.com", port, [PUBLIC])


def test_one_bad_address_among_good_ones_refuses_the_name() -> None:
    with pytest.raises(AddressRefusedError, match="loopback"):
        AddressPolicy().judge("example.com", 80, [PUBLIC, "127.0.0.1"])


def test_name_without_an_address_is_refused() -> None:
    with pytest.raises(AddressRefusedError, match="no address"):
        AddressPolicy().judge("example.com", 80, [])


@pytest.mark.parametrize(
    ("entry", "host", "address"),
    [
        ("127.0.0.0/8", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "::1"),
        ("localhost", "LOCALHOST.", "127.0.0.1"),
        ("10.0.0.0/8", "agents.internal", "10.1.2.3"),
        ("10.1.2.3", "agents.internal", "::ffff:10.1.2.3"),
        ("agents.internal:9000", "agents.internal", "10.1.2.3"),
        ("[fd00::1]:9000", "fd00::1", "fd00::1"),
        ("169.254.169.254", "169.254.169.254", "169.254.169.254"),
    ],
)
def test_allowed_target_is_reached_on_any_port_unless_one_is_named(
    entry: str, host: str, address: str
) -> None:
    policy = AddressPolicy(allow_private_hosts=[entry])

    assert len(policy.judge(host, 9000, [address])) == 1


@pytest.mark.parametrize(
    ("entry", "host", "port", "address"),
    [
        ("127.0.0.0/8", "10.0.0.1", 80, "10.0.0.1"),
        ("agents.internal:9000", "agents.internal", 9001, "10.1.2.3"),
        ("agents.internal", "other.internal", 80, "10.1.2.3"),
        ("agents.internal", "x.agents.internal", 80, "10.1.2.3"),
        ("agents.internal", "agents.internal", 80, "169.254.169.254"),
        ("agents.internal", "agents.internal", 80, "fd00:ec2::254"),
        ("127.0.0.0/8", "x", 80, "64:ff9b::7f00:1"),
    ],
)
def test_allowed_entry_opens_nothing_else(entry: str, host: str, port: int, address: str) -> None:
    """Above all: an allowed *name* never leads to cloud metadata, whoever answers its DNS."""
    policy = AddressPolicy(allow_private_hosts=[entry])

    with pytest.raises(AddressRefusedError):
        policy.judge(host, port, [address])


@pytest.mark.parametrize("entry", ["", "10.0.0.5/8", "http://x", "a b", "x:y", "*", "x/8"])
def test_unreadable_allow_list_entry_is_named(entry: str) -> None:
    with pytest.raises(SetupError, match="allowed host"):
        AddressPolicy(allow_private_hosts=[entry])


def test_loopback_list_covers_both_families() -> None:
    policy = AddressPolicy(allow_private_hosts=LOOPBACK)

    assert policy.judge("localhost", 12345, ["::1", "127.0.0.1"]) == ["::1", "127.0.0.1"]


@pytest.mark.parametrize(
    "text", ["http://[::1", "http://x:port/", "http://\u2460/", "http://a\0b/"]
)
def test_text_that_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(AddressRefusedError, match="is not a URL"):
        AddressPolicy().check_url(text)


def test_url_of_acceptable_form_is_returned() -> None:
    assert AddressPolicy().check_url("https://example.com/a?b").host == "example.com"
