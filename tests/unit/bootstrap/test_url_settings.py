"""URLs as settings: what they hold of secrets is refused or masked."""

import pytest

from bootstrap.commands.given import load_settings
from domain.errors import SetupError
from tests.unit.bootstrap.conftest import Command


@pytest.mark.parametrize("url", ["http://user:pw@host:8090", "http://token@host", "http://@host"])
def test_a_receiver_has_no_password_in_its_address(url: str) -> None:
    with pytest.raises(SetupError, match="ORCHESTRATOR_INGRESS_TOKEN") as caught:
        load_settings(ingress_url=url)

    assert url not in str(caught.value)


def test_passwords_are_masked_however_short(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://ann:pw@host/db?password=px&ssl=require")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://tok@host/v1")
    monkeypatch.setenv("OLLAMA_HOST", "http://u:p:q@host")
    monkeypatch.setenv("ORCHESTRATOR_ALLOWED_ORIGINS", "http://u:p@a,http://b")

    for shown in (command("config", "show").out, command("config", "show", "--json").out):
        assert "postgres://ann:***@host/db?password=***&ssl=require" in shown
        assert "https://***@host/v1" in shown
        assert "http://u:***@host" in shown
        assert "http://u:***@a" in shown
