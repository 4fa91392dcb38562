"""Mistakes in what names Temporal are told in a sentence, by a start and by `doctor`."""

import os
from pathlib import Path

import pytest

from bootstrap.commands.checks import check_all
from bootstrap.commands.given import load_settings
from bootstrap.devserver.server import DevServerInfo
from bootstrap.engine import connect, reason_of
from bootstrap.parts import engine_places
from bootstrap.settings import Settings
from bootstrap.temporal_config import load_connect_config
from domain.errors import SetupError

MISTAKES = [
    ({"TEMPORAL_PROFILE": "nope"}, "TEMPORAL_PROFILE names the profile nope, which is not in"),
    ({"TEMPORAL_CONFIG_FILE": "/nope"}, "TEMPORAL_CONFIG_FILE names /nope, which is no file"),
    ({"TEMPORAL_CONFIG_FILE": "broken.toml"}, "broken.toml (TEMPORAL_CONFIG_FILE) cannot be read"),
    (
        {"TEMPORAL_TLS_CLIENT_CERT_PATH": "/nope"},
        "TEMPORAL_TLS_CLIENT_CERT_PATH names /nope, which cannot be read: No such file",
    ),
    (
        {"TEMPORAL_TLS_CLIENT_CERT_PATH": "/nope", "TEMPORAL_TLS_CLIENT_CERT_DATA": "x"},
        "a setting TEMPORAL_* cannot be used: Cannot specify both TEMPORAL_TLS_CLIENT_CERT_PATH",
    ),
    (
        {"TEMPORAL_CONFIG_FILE": "good.toml"},
        "the profile in good.toml (TEMPORAL_CONFIG_FILE) names /none.pem",
    ),
]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of Temporal's own configuration, and nothing that this machine says of it."""
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("broken.toml").write_text("[[[\n")
    Path("good.toml").write_text('[profile.default.tls]\nclient_cert_path = "/none.pem"\n')


@pytest.mark.parametrize("address", [None, "127.0.0.1:1"])
@pytest.mark.parametrize(("settings", "said"), MISTAKES)
def test_a_mistake_names_its_setting(
    settings: dict[str, str], said: str, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    if address is not None:
        monkeypatch.setenv("TEMPORAL_ADDRESS", address)

    with pytest.raises(SetupError) as raised:
        load_connect_config()
    told = next(one for one in check_all(load_settings()) if one.what == "temporal")

    assert said in raised.value.message
    assert "\n" not in raised.value.message
    assert (told.state, told.said) == ("fail", raised.value.message)


async def test_an_address_that_is_none_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "a b")

    with pytest.raises(SetupError, match=r"TEMPORAL_ADDRESS.*cannot be used: invalid target"):
        await connect(Settings(), None)


def test_a_key_that_cannot_be_read_is_no_broken_connection() -> None:
    said = "Server connection error: tonic::transport::Error(Transport, PrivateKeyParseError)"

    assert reason_of(RuntimeError(said)).startswith("PrivateKeyParseError, a certificate or key")


@pytest.mark.parametrize(
    ("target", "ui_url", "places"),
    [
        ("127.0.0.1:7233", None, ["127.0.0.1:7233", "127.0.0.1:8233"]),
        ("[::1]:7233", None, ["[::1]:7233", "[::1]:8233"]),
        ("localhost:7233", "http://localhost:9", ["localhost:7233", "http://localhost:9"]),
        ("localhost:65000", None, ["localhost:65000"]),
        ("nowhere", None, ["nowhere"]),
    ],
)
def test_the_ui_of_a_server_that_is_not_ours_is_where_a_dev_server_has_it(
    target: str, ui_url: str | None, places: list[str]
) -> None:
    assert engine_places(target, ui_url, None) == places


def test_all_ports_of_our_own_server_are_known() -> None:
    info = DevServerInfo("127.0.0.1:1", "http://127.0.0.1:2", (3, 4), "1.31.2", 5, is_new_file=True)

    assert engine_places("127.0.0.1:1", "http://elsewhere:9", info) == [
        *("127.0.0.1:1", "http://127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4")
    ]
