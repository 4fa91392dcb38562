"""The demo's books and stage, against the real API over fakes; the whole is in tests/e2e."""

import os
import signal
from pathlib import Path

import pytest

from bootstrap.commands.api import Api
from bootstrap.commands.failure import CommandError
from bootstrap.demo import tour
from bootstrap.demo.stage import Stage, within
from bootstrap.demo.tour import AGENTS, _environment, _folder, _totals, add_agents
from tests.fakes.world import World


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(log_file=tmp_path / "log")


def test_the_agents_of_an_earlier_demo_are_used(api_url: str, world: World) -> None:
    with Api(api_url) as api:
        add_agents(api)
        add_agents(api)

    assert {agent_id for _, agent_id in world.directory.agents} >= {
        agent["agent_id"] for agent in AGENTS
    }


def test_a_run_is_shown_and_counted(
    stage: Stage, api_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    with Api(api_url) as api:
        scene = stage.play(
            api, "a run", "assistant", "Hi", watch=lambda one: seen.append(one["type"])
        )

    assert (scene.answer, scene.agent_id) == ("Hello", "assistant")
    assert seen == [event["type"] for event in scene.log]
    assert (stage.runs, stage.events, stage.faults) == (1, len(scene.log), [])
    shown = capsys.readouterr().out
    assert "run 1 \u00b7 a run" in shown
    assert "Temporal UI: http://localhost:8233/" in shown


def test_a_log_that_breaks_a_promise_is_noticed(
    stage: Stage, api_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Api(api_url) as api, pytest.MonkeyPatch.context() as patch:
        patch.setattr("bootstrap.demo.stage.LOG_CHECKS", (("a promise", lambda _log: False),))
        stage.play(api, "a run", "assistant", "Hi")

    assert stage.faults == ["a promise"]
    assert "NO a promise" in capsys.readouterr().out


def test_a_fault_makes_the_demo_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tour, "_three_runs", lambda stage, _environment: stage.check("x", False))
    monkeypatch.setattr(tour, "roles_apart", lambda _stage, _environment: None)

    assert tour.run_demo(tmp_path / "kept") == 1

    assert "NOT as promised: x" in capsys.readouterr().err
    assert (tmp_path / "kept").is_dir()


def test_a_demo_without_a_fault_says_so(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    _totals(stage, 1.0)

    assert "All was as promised" in capsys.readouterr().out


def test_a_scene_does_not_wait_for_ever() -> None:
    with pytest.raises(CommandError, match="has not ended within 1 s"), within(1):
        signal.pause()


def test_without_a_folder_a_temporary_one_is_used_and_removed() -> None:
    with _folder(None) as folder:
        (folder / "x").write_text("")

    assert not folder.exists()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, False),
        ({"TEMPORAL_ADDRESS": "t:7233"}, False),
        ({"DATABASE_URL": "postgres://h/d"}, False),
        ({"TEMPORAL_ADDRESS": "t:7233", "DATABASE_URL": "postgres://h/d"}, True),
    ],
)
def test_a_cluster_is_used_only_when_both_halves_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, str], kept: bool
) -> None:
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    environment = _environment(tmp_path)

    assert ("TEMPORAL_ADDRESS" not in environment) is kept
    assert environment["TEMPORAL_TASK_QUEUE"] == f"orchestrator-demo-{os.getpid()}"
