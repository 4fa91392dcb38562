"""`runs fork`, `runs retry` and `deadletters ...` against the real API over fakes."""

import asyncio
import json

import pytest

from domain.event import EventType
from tests.fakes.world import World
from tests.unit.bootstrap.conftest import Command


@pytest.fixture(autouse=True)
def failed(world: World) -> World:
    """One run was given up on."""
    asyncio.run(world.furnish())
    world.keys.by_digest.clear()
    world.runs.emit("run_01k9", EventType.RUN_FAILED, {"code": "poison_step", "message": "x"})
    return world


def test_a_run_is_forked(ask: Command, world: World) -> None:
    options = ("--from-turn", "2", "--input", "in French", "--model", "offline/echo")

    said = ask("runs", "fork", "run_01k9", *options)

    new = world.runs.accepted[-1]
    assert said.out == f"{new.run_id} goes on from turn 2 of run_01k9\n"
    assert (new.content, new.spec.models) == ("in French", ("offline/echo",))
    assert ask("runs", "fork", "run_01k9").code == 2


def test_a_run_is_retried(ask: Command) -> None:
    said = json.loads(ask("runs", "retry", "run_01k9", "--priority", "1", "--json").out)

    assert (said["forked_from"]["run_id"], said["priority"]) == ("run_01k9", 1)


def test_dead_letters_are_listed_and_shown(ask: Command) -> None:
    assert "dl_01k9" in ask("deadletters", "list").out
    assert "no such dead letters" in ask("deadletters", "list", "--status", "discarded").err
    assert "it kills its worker" in ask("deadletters", "show", "dl_01k9").out


def test_a_dead_letter_is_redriven_or_discarded(ask: Command, world: World) -> None:
    said = ask("deadletters", "redrive", "dl_01k9", "--input", "smaller")

    assert said.out.endswith(" goes on from turn 0 of dl_01k9\n")
    assert world.runs.accepted[-1].content == "smaller"
    assert ask("deadletters", "discard", "dl_01k9").out == "dl_01k9 is discarded\n"
    assert "dl_01k9" in ask("deadletters", "list", "--status", "all").out
