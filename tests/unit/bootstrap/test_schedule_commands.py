"""`schedules ...`, against the real API over fakes."""

import json

import pytest

from tests.fakes.world import World
from tests.unit.bootstrap.conftest import Command


def test_a_schedule_lives_on_the_command_line(ask: Command, world: World) -> None:
    made = ask(
        *("schedules", "create", "watch", "Is it up?", "--every", "5m", "--cron", "0 7 * * *"),
        *("--agent", "assistant", "--session", "s", "--timezone", "Europe/Berlin"),
        *("--overlap", "buffer_one", "--catchup", "1h", "--jitter", "10s", "--note", "n"),
        "--pause-on-failure",
    )
    assert made.out.startswith("schedule watch is made")
    (told,) = world.scheduler.schedules.values()
    assert told.spec.intervals[0].every_seconds == 300
    assert (told.policy.catchup_window_seconds, told.policy.pause_on_failure) == (3600, True)
    assert json.loads(told.run) == {
        "input": "Is it up?",
        "agent_id": "assistant",
        "session_id": "s",
    }

    listed = ask("schedules", "list").out
    assert "watch" in listed
    assert "every 300 s" in listed
    assert "Europe/Berlin" in listed
    assert "buffer_one" in ask("schedules", "show", "watch").out
    assert "is paused" in ask("schedules", "pause", "watch", "--note", "holiday").out
    assert json.loads(ask("schedules", "show", "watch", "--json").out)["note"] == "holiday"
    assert "goes on" in ask("schedules", "unpause", "watch").out
    assert "is triggered" in ask("schedules", "trigger", "watch", "--overlap", "skip").out
    span = ("2025-11-01T00:00:00Z", "2025-11-02T00:00:00Z")
    assert "makes up" in ask("schedules", "backfill", "watch", *span).out
    assert [one[0] for one in world.scheduler.fired] == ["trigger", "backfill"]
    assert "not fired" in ask("schedules", "firings", "watch").err
    assert "is deleted" in ask("schedules", "delete", "watch").out
    assert "no schedules" in ask("schedules", "list").err


def test_what_has_fired_is_listed(ask: Command, world: World) -> None:
    world.schedules.furnish()

    assert "run_01k9" in ask("schedules", "firings", "morning-report").out
    assert json.loads(ask("schedules", "list", "--json").out)[0]["recent_runs"]


@pytest.mark.parametrize("time", ["5", "m", "5 minutes", "-5m"])
def test_a_time_with_a_mistake_is_a_usage_error(ask: Command, time: str) -> None:
    refused = ask("schedules", "create", "watch", "Is it up?", f"--every={time}")

    assert refused.code == 2
    assert "5m" in refused.err


def test_what_the_api_refuses_is_said(ask: Command) -> None:
    refused = ask("schedules", "create", "watch", "Is it up?", "--cron", "61 * * * *")

    assert refused.code == 1
    assert "minute" in refused.err
