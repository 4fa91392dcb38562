"""The settings of a command: options above the environment above files above defaults."""

from pathlib import Path

import pytest

from bootstrap.commands.given import load_settings, names_of
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
