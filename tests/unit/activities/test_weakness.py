"""What becomes of a flawed answer: it goes up where that pays, else it counts and says why."""

from typing import Any

import pytest

from activities.weakness import Look, look_at
from domain.chat import StreamEnd, TokenUsage, ToolCallRequest
from domain.event import EventType
from domain.order import ChatOrder
from domain.routing.grading import Graded
from domain.run import RunSpec
from domain.tiers import Cascade, Level, ModelTier

ORDER = ChatOrder(run_id="run_1", step_id="llm-1-1", model="a/small", escalates=True)
END = StreamEnd(usage=TokenUsage(input_tokens=1, output_tokens=1), stop_reason="stop")
DOUBT = "I am not sure about that."
USELESS = Graded(good=100, good_passed=50, bad=100, bad_passed=90)


def spec(next_cost: float = 1.0, graded: Graded | None = None) -> RunSpec:
    low = Level(place=0, tier=ModelTier.SIMPLE, quality=0.65, cost=0.1)
    high = Level(place=1, tier=ModelTier.COMPLEX, quality=0.8, cost=next_cost)
    cascade = Cascade(levels=(low, high), task_class="math", graded=graded or Graded())
    return RunSpec(models=("a/small", "a/big"), rungs=(1,), cascade=cascade)


def data_of(look: Look) -> dict[str, Any]:
    (event,) = look.events
    assert event.type is EventType.ROUTE_DECIDED
    return event.data


def test_a_flaw_goes_up_where_it_pays_and_the_sum_is_on_record() -> None:
    look = look_at(ORDER, spec(), DOUBT, END)

    assert look.weak is not None
    assert (look.passed, look.events[0].key) == (False, "llm-1-1:escalated")
    data = data_of(look)
    assert data == {
        "kind": "escalation",
        "tier": "complex",
        "escalated_from": "a/small",
        "step": "llm-1-1",
        "reason": look.weak,
        "scores": {"wrong": 0.7903, "gain": 0.6323, "price": 0.15},
    }


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (spec(next_cost=5.0), "good enough for what a stronger one costs"),
        (spec(graded=USELESS), "the look at answers is off for math"),
    ],
)
def test_a_flaw_that_is_not_worth_going_up_counts_and_says_why(known: RunSpec, reason: str) -> None:
    look = look_at(ORDER, known, DOUBT, END)

    assert (look.weak, look.passed) == (None, False)
    assert look.events[0].key == "llm-1-1:stayed"
    data = data_of(look)
    assert (data["tier"], data["step"]) == ("simple", "llm-1-1")
    assert data["reason"].startswith("the answer doubts itself")
    assert reason in data["reason"]
    assert set(data["scores"]) == {"wrong", "gain", "price"}
    assert "escalated_from" not in data


@pytest.mark.parametrize(
    "known",
    [
        RunSpec(models=("a/small", "a/big"), rungs=(1,)),
        spec().model_copy(update={"models": ("b/small", "a/big")}),
    ],
)
def test_any_flaw_goes_up_where_nothing_was_taken_along(known: RunSpec) -> None:
    look = look_at(ORDER, known, DOUBT, END)

    assert look.weak is not None
    data = data_of(look)
    assert (data["escalated_from"], data["scores"]) == ("a/small", {})
    assert "tier" not in data


def test_an_answer_that_passes_counts_whatever_a_stronger_one_costs() -> None:
    look = look_at(ORDER, spec(next_cost=0.0), "It is 4.", END)

    assert look == Look(passed=True)
    assert look.on_record() == {"passed": True}


@pytest.mark.parametrize(("text", "broken"), [("", {"broken": True}), (DOUBT, {})])
def test_an_answer_of_which_nothing_is_left_is_on_record_as_broken(
    text: str, broken: dict[str, bool]
) -> None:
    assert look_at(ORDER, spec(), text, END).on_record() == {"passed": False, **broken}


def test_nobody_looks_at_the_top_or_at_a_call_of_tools() -> None:
    top = ORDER.model_copy(update={"escalates": False})
    call = ToolCallRequest(call_id="c", name="calculator", arguments="{}")
    calls = END.model_copy(update={"tool_calls": (call,)})

    assert look_at(top, spec(), "", END) == look_at(ORDER, spec(), "", calls) == Look()
    assert Look().on_record() == {}
