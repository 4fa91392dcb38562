"""`doctor`: says what is missing, changes nothing."""

import json
import os
import socket
import sqlite3
from pathlib import Path

import pytest

from bootstrap.commands import checks
from bootstrap.commands.checks import Finding, check_all
from bootstrap.commands.given import load_settings
from tests.unit.bootstrap.conftest import Command
from tests.unit.bootstrap.scripts import fake_temporal


@pytest.fixture(autouse=True)
def temporal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `temporal` of the right version, and no other settings."""
    for name in ("TEMPORAL_ADDRESS", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    path = fake_temporal(tmp_path / "bin" / "temporal")
    monkeypatch.setenv("TEMPORAL_CLI_PATH", str(path))
    monkeypatch.setenv("ORCHESTRATOR_TEMPORAL_PORT", "0")
    monkeypatch.setenv("ORCHESTRATOR_TEMPORAL_UI_PORT", "0")
    monkeypatch.setenv("ORCHESTRATOR_PORT", "0")
    return path


def look(what: str, **settings: object) -> Finding:
    return next(one for one in check_all(load_settings(**settings)) if one.what == what)


def test_a_fresh_machine_is_fine(command: Command, tmp_path: Path) -> None:
    said = command("doctor")

    assert said.code == 0
    assert "dev server 1.31.2" in said.out
    assert "offline only" in said.out
    assert not (tmp_path / "data").exists()


def test_the_findings_are_json_too(command: Command) -> None:
    findings = json.loads(command("doctor", "--json").out)

    assert {finding["what"] for finding in findings} >= {"python", "store", "temporal", "models"}


def test_whatever_keeps_it_from_starting_exits_1(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://x")

    said = command("doctor")

    assert said.code == 1
    assert "mysql" in said.out


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert look("data folder", data_dir=tmp_path / "file" / "data").state == "fail"


def test_a_data_folder_that_others_may_read_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    told = look("data folder", data_dir=tmp_path)
    tmp_path.chmod(0o700)

    assert (told.state, look("data folder", data_dir=tmp_path).state) == ("warn", "ok")
    assert f"chmod 700 {tmp_path}" in told.said


def test_a_store_is_counted_and_a_broken_one_told(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (id)")
        connection.execute("INSERT INTO runs VALUES (1)")
    connection.close()
    assert "1 runs" in look("store", data_dir=tmp_path).said

    path.write_text("no database")
    assert look("store", data_dir=tmp_path).state == "fail"


def test_a_postgres_that_does_not_answer_is_told_without_its_password() -> None:
    found = look("store", database_url="postgres://u:secret-pw@127.0.0.1:1/db")

    assert found.state == "fail"
    assert "secret-pw" not in found.said


def test_postgres_needs_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_version", lambda _name: None)

    assert "uv sync --extra postgres" in look("store", database_url="postgres://h/db").said


def test_an_old_temporal_is_told(temporal: Path) -> None:
    fake_temporal(temporal, server="1.20.0")

    assert look("temporal").state == "fail"


def test_a_named_temporal_that_is_none_is_told_as_a_start_would(
    temporal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporal.write_text("#!/bin/sh\nexit 1\n")
    found = [look("temporal")]
    monkeypatch.setenv("TEMPORAL_CLI_PATH", "/nope")
    found.append(look("temporal"))

    assert {one.state for one in found} == {"fail"}
    assert found[1].said.startswith("TEMPORAL_CLI_PATH names /nope, which does not run")


def test_a_temporal_that_changed_since_it_wrote_the_data_is_told(
    tmp_path: Path, temporal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporal.db").write_text("")
    monkeypatch.delenv("TEMPORAL_CLI_PATH")
    monkeypatch.setenv("ORCHESTRATOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    note = {"server_version": "1.30.0", "cli_version": "1", "binary": str(temporal)}
    note |= {"size_bytes": 0, "mtime_ns": 0}  # type: ignore[dict-item]
    (tmp_path / "temporal.db.server.json").write_text(json.dumps(note))

    found = look("temporal", data_dir=tmp_path)

    assert found.state == "fail"
    assert "written by Temporal server 1.30.0" in found.said
    assert "--restart-unfinished" in found.said


def test_a_damaged_note_of_who_wrote_the_data_is_told(tmp_path: Path) -> None:
    (tmp_path / "temporal.db").write_text("")
    (tmp_path / "temporal.db.server.json").write_text("garbage\n")

    found = look("temporal", data_dir=tmp_path)

    assert found.state == "fail"
    assert "nobody knows which Temporal server wrote temporal.db" in found.said


def test_a_cached_temporal_is_found_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEMPORAL_CLI_PATH")
    monkeypatch.setenv("ORCHESTRATOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert look("temporal").state == "warn"

    fake_temporal(tmp_path / "cache" / "temporal" / "9" / "temporal")
    assert look("temporal").state == "ok"


def test_data_of_another_version_is_told(tmp_path: Path, temporal: Path) -> None:
    (tmp_path / "temporal.db").write_text("")
    note = {"server_version": "1.30.0", "cli_version": "1", "binary": str(tmp_path / "gone")}
    note |= {"size_bytes": 0, "mtime_ns": 0}  # type: ignore[dict-item]
    (tmp_path / "temporal.db.server.json").write_text(json.dumps(note))

    found = look("temporal", data_dir=tmp_path)

    assert found.state == "fail"
    assert "written by Temporal server 1.30.0" in found.said


def test_a_cluster_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(checks, "_SDK_SECONDS", 0.3)

    found = look("temporal")

    assert found.state == "fail"
    assert found.said == "127.0.0.1:1 does not answer: Connection refused"


def test_providers_that_are_configured_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")

    assert look("models").said == "openai, offline"


def test_a_provider_that_cannot_be_asked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("OPENAI_BASE_URL", "nowhere")

    found = look("models")

    assert found.state == "warn"
    assert "OPENAI_BASE_URL" in found.said


def test_a_mistake_in_the_agents_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "agents.toml").write_text("[agents.a]\n")
    assert look("agents", data_dir=tmp_path).said.endswith("agents.toml: a")

    (tmp_path / "agents.toml").write_text("[agents.a]\nx = 1\n")
    assert look("agents", data_dir=tmp_path).state == "fail"


def test_a_host_that_others_reach_needs_a_key() -> None:
    assert look("access", host="0.0.0.0").state == "note"


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = look("port of the API", port=listener.getsockname()[1])

    assert found.state == "fail"


def test_where_an_orchestrator_runs_its_ports_are_not_looked_at(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        said = {"api": url, "pid": os.getpid()}
        (tmp_path / "endpoints.json").write_text(json.dumps(said))
        whats = {one.what: one.said for one in check_all(load_settings(data_dir=tmp_path))}

    assert url in whats["running"]
    assert "port of the API" not in whats
