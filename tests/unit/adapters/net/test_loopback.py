"""This machine is told from others, and spares a client what only they need."""

import ssl

import pytest

from adapters.net.loopback import is_loopback, verify_for


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1/v1", True),
        ("http://a.localhost", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:2", True),
        ("http://10.0.0.1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_loopback_is_told_from_elsewhere(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


def test_plain_http_to_this_machine_loads_no_authorities() -> None:
    context = verify_for("http://127.0.0.1:8080")

    assert isinstance(context, ssl.SSLContext)
    assert context.cert_store_stats()["x509_ca"] == 0
    assert context.verify_mode is ssl.CERT_REQUIRED  # whoever sends it to https all the same fails


@pytest.mark.parametrize("url", ["https://127.0.0.1", "http://10.0.0.1", "https://api.openai.com"])
def test_everybody_else_is_verified_as_usual(url: str) -> None:
    assert verify_for(url) is True
