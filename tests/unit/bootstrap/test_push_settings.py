"""Where events are pushed to, as it is named from outside."""

import pytest

from bootstrap.commands.given import load_settings
from domain.errors import SetupError


@pytest.mark.parametrize(
    "url", ["http://localhost:8090", "https://a.example/base/", "http://[::1]:1"]
)
def test_an_address_is_taken(url: str) -> None:
    assert load_settings(ingress_url=url).ingress_url == url


def test_an_empty_address_is_none() -> None:
    assert load_settings(ingress_url="").ingress_url is None


@pytest.mark.parametrize(
    "url", ["localhost:8090", "ftp://a.example", "http://", "http://a?b=c", "x"]
)
def test_what_is_no_address_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SetupError, match="8090"):
        load_settings(ingress_url=url)
