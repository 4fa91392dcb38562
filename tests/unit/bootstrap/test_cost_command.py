"""`orchestrator costs` against the real API over fakes."""

import json
from datetime import UTC, datetime

import pytest

from domain.costs import CostBy, CostLine
from tests.fakes.world import World
from tests.unit.bootstrap.conftest import Command


def test_costs_are_those_of_today_by_model(ask: Command, world: World) -> None:
    world.costs.lines = [CostLine("openai/x", calls=2, priced_pico=5 * 10**11)]

    said = ask("costs")

    (_, by, which) = world.costs.asked[0]
    assert by is CostBy.MODEL
    assert which.since_ms is not None
    began = datetime.fromtimestamp(which.since_ms / 1000, UTC)
    assert (began.hour, began.minute, began.date()) == (0, 0, datetime.now(UTC).date())
    assert "openai/x" in said.out
    assert "2 calls, 0 failed: 0.5 USD" in said.err


@pytest.mark.parametrize(
    ("since", "ms"),
    [("2025-11-20", 1_763_596_800_000), ("2025-11-20T10:00:00Z", 1_763_632_800_000)],
)
def test_costs_are_asked_for_by_what_and_when(
    ask: Command, world: World, since: str, ms: int
) -> None:
    said = ask("costs", "--by", "tree", "--since", since, "--json")

    (_, by, which) = world.costs.asked[0]
    assert (by, which.since_ms, which.until_ms) == (CostBy.TREE, ms, None)
    assert json.loads(said.out)["costs"] == []


def test_what_nobody_priced_is_named(ask: Command, world: World) -> None:
    world.costs.lines = [CostLine("openai/new", calls=1, unpriced_calls=1)]
    world.costs.unpriced = [("openai/new", 1)]

    said = ask("costs", "--since", "always")

    assert world.costs.asked[0][2].since_ms is None
    assert "at least 0 USD" in said.err
    assert "nobody knows what openai/new costs" in said.err


def test_nothing_cost_nothing(ask: Command) -> None:
    assert ask("costs").err == "no model was called\n"


def test_a_sum_for_something_else_is_refused(ask: Command) -> None:
    said = ask("costs", "--by", "colour")

    assert said.code == 1
    assert "by" in said.err
