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


@pytest.mark.parametrize(
    "text",
    [
        "http://example.com:99999",
        "http://example.com:65536",
        "http://example.com:0",
        "http://localhost:65536",
        "http://127.0.0.1:99999",
        "http://example.com:22",
        "http://example.com.:6379",
        "https://93.184.216.34:7233",
        "http://169.254.169.254/latest",
        "http://[::ffff:169.254.169.254]/",
        "http://10.0.0.1",
        "http://10.0.0.1.:8080",
        "http://192.168.1.1:8080",
        "http://[fd00::1]:8000",
        "http://[fe80::1]",
        "http://0.0.0.0:8000",
        "http://2852039166/",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://10.1:8080",
    ],
)
def test_url_that_could_never_be_contacted_is_refused(text: str) -> None:
    with pytest.raises(AddressRefusedError):
        AddressPolicy(allow_private_hosts=LOOPBACK).check_url(text)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ((), "https://example.com"),
        ((), "http://93.184.216.34:8080"),
        (LOOPBACK, "http://localhost:9"),
        (LOOPBACK, "http://LOCALHOST.:9"),
        (LOOPBACK, "http://agent.localhost:9"),
        (LOOPBACK, "http://127.0.0.1:65535"),
        (LOOPBACK, "http://127.1:5000"),
        (LOOPBACK, "http://[::1]:5000"),
        (["10.0.0.0/8"], "http://10.0.0.1:9000"),
        (["10.0.0.0/8"], "http://agents.internal:9000"),
        (["agents.internal"], "http://agents.internal:9000"),
        (["agents.internal:9000"], "http://agents.internal:9000"),
        (["169.254.169.254"], "http://169.254.169.254"),
    ],
)
def test_url_that_may_lead_to_an_allowed_target_is_returned(
    entries: tuple[str, ...], text: str
) -> None:
    assert str(AddressPolicy(allow_private_hosts=entries).check_url(text)).startswith("http")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("agents.internal:9000", "http://agents.internal:9001"),
        ("agents.internal", "http://other.internal:9000"),
        ("[fd00::1]:9000", "http://[fd00::1]:9001"),
    ],
)
def test_allowed_entry_opens_no_other_urls(entry: str, text: str) -> None:
    with pytest.raises(AddressRefusedError):
        AddressPolicy(allow_private_hosts=[entry]).check_url(text)


@pytest.mark.parametrize(
    ("text", "missing"), [("http://", "host"), ("x", "scheme"), ("", "scheme"), ("//a", "scheme")]
)
def test_what_a_url_lacks_is_named(text: str, missing: str) -> None:
    with pytest.raises(AddressRefusedError, match=f"names no {missing}"):
        AddressPolicy().check_url(text)


def test_a_refusal_names_the_setting_that_an_operator_can_change() -> None:
    with pytest.raises(AddressRefusedError, match="ORCHESTRATOR_ALLOW_PRIVATE_HOSTS"):
        AddressPolicy().check_url("http://10.0.0.1")
