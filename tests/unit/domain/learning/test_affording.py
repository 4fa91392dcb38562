"""Whether an agent's own budget leaves a call of it: what is left against a small call."""

from decimal import Decimal

import pytest

from domain.agent import Agent, AgentKind
from domain.bounds import USEFUL_TOKENS, PriceOverride
from domain.learning.affording import Costs
from domain.learning.books import Standing
from domain.routing.ladder import Ladder
from domain.tiers import ModelTier
from tests.fakes.clock import NOW
from tests.fakes.proxy import FakePrices

COSTS = Costs(FakePrices(), Ladder({}, ("openai/gpt-x",)))
SMALL = (len("Be brief." + "hello") + 2 * USEFUL_TOKENS) * 10**6
"""Picodollars of a small call at the fake's prices."""


def agent(kind: AgentKind = AgentKind.LLM, *models: str) -> Agent:
    return Agent(
        agent_id="math",
        owner="ann",
        kind=kind,
        name="Math",
        instructions="Be brief.",
        models=models,
        created_at=NOW,
        updated_at=NOW,
    )


@pytest.mark.parametrize("which", [agent(), agent(AgentKind.LLM, "a/b"), agent(AgentKind.HTTP)])
def test_a_budget_that_stops_has_to_leave_a_small_call(which: Agent) -> None:
    assert COSTS.can_pay(which, "hello", Standing(left={"math": SMALL}))
    assert not COSTS.can_pay(which, "hello", Standing(left={"math": SMALL - 1}))
    assert COSTS.can_pay(which, "hello", Standing(left={"cook": 0}))


def test_a_budget_of_which_all_is_used_pays_nothing_whatever_is_left() -> None:
    assert not COSTS.can_pay(agent(), "hello", Standing(budget_used={"math": 1.0}))
    assert COSTS.can_pay(agent(), "hello", Standing(budget_used={"math": 0.99}))


def test_a_price_that_was_said_over_the_api_wins() -> None:
    free = {"openai/gpt-x": PriceOverride(Decimal(0), Decimal(0), Decimal(0))}

    assert COSTS.can_pay(agent(), "hello", Standing(left={"math": 1}, prices=free))


def test_nothing_is_said_of_models_whose_price_nobody_knows() -> None:
    broke = Standing(left={"math": 1})

    assert COSTS.can_pay(agent(AgentKind.LLM, "unpriced/x"), "hello", broke)
    assert Costs().can_pay(agent(AgentKind.LLM, "a/b"), "hello", broke)
    assert Costs().can_pay(agent(), "hello", broke)


TIERS = {ModelTier.SIMPLE: ("a/s",), ModelTier.MEDIUM: ("a/s", "a/m"), ModelTier.CRITICAL: ("a/c",)}


@pytest.mark.parametrize(
    ("named", "climbs", "behind"),
    [
        (("a/b", "tier:simple"), False, ("a/b", "a/s")),
        (("tier:simple",), True, ("a/s", "a/m", "a/c")),
        (("tier:reasoning",), False, ("a/c",)),
        (("auto",), False, ("a/s", "a/m", "usual/x")),
        (("auto",), True, ("a/s", "a/m", "usual/x", "a/c")),
        (("tier:gone",), False, ("tier:gone",)),
        ((), False, ("usual/x",)),
    ],
)
def test_a_name_of_a_choice_stands_for_all_that_it_may_become(
    named: tuple[str, ...], climbs: bool, behind: tuple[str, ...]
) -> None:
    which = agent(AgentKind.LLM, *named).model_copy(update={"escalate": climbs})

    assert Costs(None, Ladder(TIERS, ("usual/x",))).models_of(which) == behind


def test_where_no_tiers_are_configured_auto_is_the_usual_models() -> None:
    assert COSTS.models_of(agent(AgentKind.LLM, "auto")) == ("openai/gpt-x",)
