"""Attack 1: nobody is served off-loopback without a key."""

import pytest

from bootstrap.exposure import check_exposure, is_loopback
from bootstrap.settings import Settings
from domain.errors import SetupError


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST"]
)
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    check_exposure(Settings(host=host), has_keys=False)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "",
        "192.168.1.4",
        "::ffff:10.0.0.1",
        "example.org",
        "127.0.0.1.evil",
        "127.1",
    ],
)
def test_anywhere_else_is_refused_while_there_is_no_key(host: str) -> None:
    with pytest.raises(SetupError, match=r"without an API key.*keys create"):
        check_exposure(Settings(host=host), has_keys=False)


def test_with_a_key_it_may_listen_everywhere() -> None:
    check_exposure(Settings(host="0.0.0.0"), has_keys=True)
