"""The settings of a command: options above the environment above files above defaults."""

import os
from pathlib import Path

import pytest

from bootstrap.commands.given import load_settings, names_of
from bootstrap.devserver.process import own_namespace
from bootstrap.settings import Settings
from domain.errors import SetupError


def test_an_option_wins_over_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orchestrator.toml").write_text(
        "port = 1\nhost = 'localhost'\nlog_level = 'error'\n"
    )
    (tmp_path / ".env").write_text("ORCHESTRATOR_HOST=127.0.0.2\nORCHESTRATOR_PORT=2\n")
    monkeypatch.setenv("ORCHESTRATOR_PORT", "3")

    assert load_settings(port=4).port == 4
    settings = load_settings(port=None)
    assert (settings.port, settings.host, settings.log_level) == (3, "127.0.0.2", "error")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prt = 1", "unknown key prt; did you mean port?"),
        ("zzzzzz = 1", "unknown key zzzzzz"),
        ("port = ", "cannot be read"),
        ("port = 'x'", "the setting ORCHESTRATOR_PORT is not usable"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "orchestrator.toml").write_text(text)

    with pytest.raises(SetupError) as refused:
        load_settings()

    assert said in refused.value.message


def test_a_misspelt_variable_is_named_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text("ORCHESTRATOR_ZZZ=1\n")
    monkeypatch.setenv("ORCHESTRATOR_PROT", "sk-secret")
    for known in ("ORCHESTRATOR_API_KEY", "ORCHESTRATOR_CACHE_DIR", "ORCHESTRATOR_TEMPORAL_PORT"):
        monkeypatch.setenv(known, "1")

    load_settings()

    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "note: ORCHESTRATOR_PROT is no setting and does nothing; did you mean ORCHESTRATOR_PORT?"
    )
    assert second == "note: ORCHESTRATOR_ZZZ is no setting and does nothing"


def test_a_value_that_is_not_usable_is_named_but_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_PORT", "sk-secret")

    with pytest.raises(SetupError, match="ORCHESTRATOR_PORT") as refused:
        load_settings()

    assert "sk-secret" not in refused.value.message


def test_every_setting_has_an_environment_name() -> None:
    names = {name: names_of(name, field) for name, field in Settings.model_fields.items()}

    assert names["port"][0] == "ORCHESTRATOR_PORT"
    assert "HTTP_PORT" in names["port"]
    assert names["database_url"] == ["DATABASE_URL"]
    assert names["openai_api_key"] == ["OPENAI_API_KEY"]
    assert all(name == name.upper() for found in names.values() for name in found)


def test_variables_of_others_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conda exports HOST, build scripts TOOLS and PORT."""
    for name in ("HOST", "PORT", "TOOLS", "AUTH", "DATA_DIR", "API_URL", "OPEN_AI"):
        monkeypatch.setenv(name, "x86_64-conda-linux-gnu")

    assert load_settings() == Settings()
    assert (load_settings().host, load_settings().tools) == ("127.0.0.1", ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECONCILE_SECONDS", "0"),
        ("LEASE_SECONDS", "-1"),
        ("REQUESTS_PER_SECOND", "0"),
        ("ATTEMPT_SECONDS", "0"),
        ("HEARTBEAT_SECONDS", "nan"),
        ("IDLE_SECONDS", "inf"),
        ("TEMPORAL_UI_PORT", "70000"),
        ("AUTH", "banana"),
        ("CRASH_POINT", "close_step"),
        ("DEFAULT_MODELS", "gpt-4"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"ORCHESTRATOR_{name}", value)

    with pytest.raises(SetupError, match=f"ORCHESTRATOR_{name} is not usable"):
        load_settings()


@pytest.mark.parametrize("other", ["ORCHESTRATOR_TEMPORAL_PORT", "ORCHESTRATOR_TEMPORAL_UI_PORT"])
def test_one_port_for_the_api_and_for_our_temporal_server_is_refused(
    monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """A Temporal server elsewhere has ports of its own."""
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    monkeypatch.setenv(other, "8080")
    with pytest.raises(SetupError, match=f"ORCHESTRATOR_PORT and {other} are both 8080"):
        load_settings()

    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal:7233")
    assert load_settings().port == 8080


def test_a_level_or_format_of_the_log_that_there_is_not_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_LOG_LEVEL", "FATAL")
    assert load_settings().log_level == "critical"

    with pytest.raises(SetupError, match=r"LOG_FORMAT is not usable.*'auto', 'json' or 'console'"):
        load_settings(log_format="xml")
    monkeypatch.setenv("ORCHESTRATOR_LOG_LEVEL", "loud")
    with pytest.raises(SetupError, match=r"LOG_LEVEL is not usable.*'debug', 'info'"):
        load_settings()


def test_temporals_names_count_from_the_file_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("TEMPORAL_ADDRESS=far:7233\nTEMPORAL_NAMESPACE=a\nPATH=/x\n")
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"):
        monkeypatch.setenv(name, "b")
    monkeypatch.delenv("TEMPORAL_ADDRESS")

    load_settings()

    assert (os.environ["TEMPORAL_ADDRESS"], own_namespace()) == ("far:7233", "b")
    assert os.environ["PATH"] != "/x"
