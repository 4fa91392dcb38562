"""How a Temporal server that cannot be reached is spoken of."""

import pytest

from bootstrap.engine import reason_of


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            'tonic::transport::Error(Transport, ConnectError(ConnectError("tcp connect error", '
            '127.0.0.1:1, Os { code: 111, kind: ConnectionRefused, message: "Connection refused" '
            "})))",
            "Connection refused",
        ),
        (
            'tonic::transport::Error(Transport, ConnectError(ConnectError("dns error", Custom { '
            'error: "failed to lookup address information: Name or service not known" })))',
            "Name or service not known",
        ),
        ("tonic::transport::Error(Transport)", "its connection broke"),
        ("invalid target URL", "invalid target URL"),
        ("", "no answer in time"),
    ],
)
def test_the_sdks_own_types_are_left_out(said: str, words: str) -> None:
    assert reason_of(RuntimeError(said)) == words
