"""`agents`, `sessions`, `tools`, `keys`, `config`, `version`: API, store and settings are real."""

import io
import json
import sys
from pathlib import Path

import pytest

from bootstrap.commands.agents import _health_of
from tests.unit.bootstrap.conftest import Command


def test_agents_are_registered_listed_shown_and_deleted(ask: Command, tmp_path: Path) -> None:
    file = tmp_path / "tutor.toml"
    file.write_text('agent_id = "tutor"\nname = "Tutor"\ntools = ["calculator"]\n')

    assert ask("agents", "register", str(file)).out == "agent tutor is registered\n"
    assert "tutor" in ask("agents", "list").out
    assert json.loads(ask("agents", "show", "tutor", "--json").out)["tools"] == ["calculator"]
    assert ask("agents", "delete", "tutor").out == "agent tutor is gone\n"
    assert "tutor" not in ask("agents", "list").out


def test_an_external_agent_shows_how_it_is_and_gets_a_token(ask: Command, tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    body = {"agent_id": "own", "name": "Own", "kind": "http", "endpoint": "http://agents.test"}
    file.write_text(json.dumps({**body, "capabilities": ["sums"]}))
    ask("agents", "register", str(file))

    listed = ask("agents", "list").out
    made = ask("agents", "token", "own")
    again = json.loads(ask("agents", "token", "own", "--json").out)

    assert "HEALTH" in listed
    assert "unknown" in listed
    assert "sums" in ask("agents", "card", "own").out
    assert made.out.startswith("orch_")
    assert "only now" in made.err
    assert again["token"] != made.out.strip()
    assert ask("agents", "token", "assistant").code == 1


@pytest.mark.parametrize(
    ("status", "circuit", "said"),
    [
        ("healthy", "closed", "healthy"),
        ("unhealthy", "half_open", "unhealthy, circuit half-open"),
    ],
)
def test_health_is_a_word_or_two(status: str, circuit: str, said: str) -> None:
    assert _health_of({"health": {"status": status, "circuit": circuit}}) == said
    assert _health_of({"health": None}) is None


def test_an_agent_is_registered_from_stdin(ask: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"agent_id": "e", "name": "E"}'))

    assert json.loads(ask("agents", "register", "-", "--json").out)["agent_id"] == "e"
    assert json.loads(ask("agents", "delete", "e", "--json").out)["deleted"] is True


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "cannot be read"),
        ("a.toml", "x = ", "cannot be read"),
        ("a.json", "[]", "holds no object"),
        ("a.json", '{"agent_id": "a", "name": "A", "colour": 1}', "colour"),
        ("a.json", '{"agent_id": "a b", "name": "A"}', "agent_id"),
    ],
)
def test_a_definition_with_a_mistake_is_refused(
    ask: Command, tmp_path: Path, name: str, text: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(text)

    refused = ask("agents", "register", str(file))

    assert refused.code == 1
    assert said in refused.err


def test_a_missing_definition_is_one_sentence(ask: Command) -> None:
    assert "cannot be read" in ask("agents", "register", "nowhere.json").err


def test_sessions_are_listed_read_and_cleared(ask: Command) -> None:
    ask("run", "Hello", "--session", "s1", "--agent", "assistant")

    assert "s1" in ask("sessions", "list").out
    assert "Hello" in ask("sessions", "messages", "s1").out
    assert ask("sessions", "clear", "s1").out == "session s1 is empty\n"
    assert json.loads(ask("sessions", "messages", "s1", "--json").out) == []
    assert ask("sessions", "clear", "s1", "--json").code == 0


def test_tools_are_listed_and_called(ask: Command) -> None:
    assert "calculator" in ask("tools", "list").out
    said = ask("tools", "call", "calculator", '{"operation": "add"}')
    assert (said.code, json.loads(said.out)) == (0, {"result": 42})
    assert (
        json.loads(ask("tools", "call", "calculator", "{}", "--json").out)["status"] == "succeeded"
    )


def test_a_tool_that_fails_exits_1(ask: Command) -> None:
    said = ask("tools", "call", "calculator", '{"operation": "boom"}')

    assert said.code == 1
    assert "boom" in said.out


def test_arguments_that_are_no_json_are_a_usage_error(ask: Command) -> None:
    said = ask("tools", "call", "calculator", "{")

    assert said.code == 2
    assert "not JSON" in said.err


def test_a_key_of_a_server_is_made_listed_and_revoked(command: Command, api_url: str) -> None:
    made = json.loads(
        command("keys", "create", "ops", "--scope", "admin", "--api-url", api_url, "--json").out
    )
    shown = ("--api-url", api_url, "--api-key", made["key"])

    assert "ops" in command("keys", "list", *shown).out
    assert "401" not in command("runs", "list", *shown).err
    refused = command("runs", "list", "--api-url", api_url)
    assert refused.code == 1
    assert "--api-key" in refused.err
    assert command("keys", "revoke", made["key_id"], *shown).code == 0


def test_a_key_is_made_straight_in_the_store(command: Command) -> None:
    first = command("keys", "create", "ops", "--scope", "admin", "--days", "2", "--owner", "team")
    second = command("keys", "create", "ci")

    assert first.out.startswith("orch_")
    assert first.out.count("\n") == 1
    assert "from now on every request needs a key" in first.err
    assert "nobody is the operator over HTTP" in first.err
    assert "from now on" not in second.err
    keys = json.loads(command("keys", "list", "--json").out)
    assert [(key["name"], key["owner"], key["scopes"]) for key in keys] == [
        ("ci", "local", ["read", "invoke"]),
        ("ops", "team", ["admin"]),
    ]
    assert first.out.strip() not in json.dumps(keys)


def test_a_key_in_the_store_can_be_revoked(command: Command) -> None:
    made = json.loads(command("keys", "create", "x", "--json").out)

    other = json.loads(command("keys", "create", "y", "--json").out)

    revoked = command("keys", "revoke", made["key_id"])
    last = command("keys", "revoke", other["key_id"])

    assert revoked.out == f"key {made['key_id']} is revoked\n"
    assert "ORCHESTRATOR_AUTH=on" not in revoked.err
    assert "no key is left" in last.err
    assert "ORCHESTRATOR_AUTH=on" in last.err
    assert json.loads(command("keys", "list", "--json").out)[0]["revoked_at"] is not None
    assert command("keys", "revoke", "key_nope").code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["x", "--scope", "root"], "there is no scope root"), (["x", "--owner", "a b"], "owner")],
)
def test_a_key_with_a_mistake_is_a_usage_error(
    command: Command, arguments: list[str], said: str
) -> None:
    refused = command("keys", "create", *arguments)

    assert refused.code == 2
    assert said in refused.err


def test_the_settings_are_shown_without_secrets(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("DATABASE_URL", "postgres://u:db-password@host/db")

    text, as_json = command("config", "show"), command("config", "show", "--json")

    assert "sk-very" not in text.out + as_json.out
    assert "db-password" not in text.out + as_json.out
    shown = json.loads(as_json.out)
    assert shown["openai_api_key"] == "***"
    assert shown["database_url"] == "postgres://u:***@host/db"
    assert shown["port"] == 8080
    assert "OPENAI_API_KEY" in text.out


def test_the_settings_are_shown_with_where_they_come_from(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "orchestrator.toml").write_text("worker_slots = 7\nhost = '127.0.0.2'\n")
    (tmp_path / ".env").write_text("ORCHESTRATOR_HOST=127.0.0.3\nport=9001\n")
    monkeypatch.setenv("OLLAMA_HOST", "here")

    rows = [line.split() for line in command("config", "show").out.splitlines()]

    assert ["OLLAMA_HOST", "environment", "here"] in rows
    assert ["ORCHESTRATOR_HOST", ".env", "127.0.0.3"] in rows
    assert ["ORCHESTRATOR_WORKER_SLOTS", "orchestrator.toml", "7"] in rows
    assert ["ORCHESTRATOR_PORT", "8080"] in rows


def test_the_schema_names_every_setting(command: Command) -> None:
    schema = json.loads(command("config", "schema").out)

    assert schema["properties"]["port"]["maximum"] == 65535


def test_versions_are_printed(command: Command) -> None:
    assert command("version").out.startswith("orchestrator ")
    assert "temporalio" in json.loads(command("version", "--json").out)
