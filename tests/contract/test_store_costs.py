"""The contract of `CostBook` over both databases: sums over calls, each counted once."""

from decimal import Decimal
from typing import Any

import pytest

from domain.acceptance import Page
from domain.costs import CostBy, CostFilter, CostReport
from domain.errors import InvalidRequestError
from tests.contract.money_scenes import DAY, entered, goal
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import OWNER, answer, bill, new_run, open_step

NOON = 20_000 * DAY + DAY // 2


async def _costs(
    store: StoreBox, by: CostBy = CostBy.MODEL, owner: str | None = OWNER, **which: Any
) -> CostReport:
    return await store.costs.costs(owner, by, CostFilter(**which), Page())


def _sums(report: CostReport) -> dict[str | None, str | None]:
    return {line.key: line.cost_usd for line in report.lines}


async def _furnish(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1"))
    await store.goals.put_goal(goal("goal_2", parent_goal_id="goal_1"))
    await entered(store, "run_1", "1", goal_id="goal_1", key_id="key_1", at=NOON)
    await entered(store, "run_2", "2", goal_id="goal_2", root="run_1", at=NOON + 1)
    await entered(store, "run_3", "4", model="anthropic/y", agent_id="other", at=NOON + DAY)
    await entered(store, "run_4", "64", owner="bob", goal_id="goal_1", at=NOON)


@pytest.mark.parametrize(
    ("by", "sums"),
    [
        (CostBy.MODEL, {"anthropic/y": "4", "openai/x": "3"}),
        (CostBy.AGENT, {"other": "4", "helper": "3"}),
        (CostBy.SESSION, {"s-run_3": "4", "s-run_2": "2", "s-run_1": "1"}),
        (CostBy.GOAL, {None: "4", "goal_2": "2", "goal_1": "1"}),
        (CostBy.KEY, {None: "6", "key_1": "1"}),
        (CostBy.DAY, {"2024-10-05": "4", "2024-10-04": "3"}),
        (CostBy.RUN, {"run_3": "4", "run_2": "2", "run_1": "1"}),
        (CostBy.TREE, {"run_3": "4", "run_1": "3"}),
    ],
)
async def test_sums_are_for_what_is_asked_the_dearest_or_last_first(
    store: StoreBox, by: CostBy, sums: dict[str | None, str]
) -> None:
    await _furnish(store)

    report = await _costs(store, by)

    assert list(_sums(report).items()) == list(sums.items())
    assert report.total.cost_usd == "7"
    assert report.total.calls == 3


@pytest.mark.parametrize(
    ("which", "total"),
    [
        ({"since_ms": NOON + 1}, "6"),
        ({"until_ms": NOON + 1}, "1"),
        ({"run_id": "run_2"}, "2"),
        ({"root_run_id": "run_1"}, "3"),
        ({"agent_id": "helper"}, "3"),
        ({"session_id": "s-run_3"}, "4"),
        ({"goal_id": "goal_1"}, "3"),
        ({"goal_id": "goal_2"}, "2"),
        ({"goal_id": "goal_no"}, "0"),
        ({"key_id": "key_1"}, "1"),
        ({"model": "anthropic/y", "since_ms": NOON}, "4"),
    ],
)
async def test_only_what_fits_counts(store: StoreBox, which: dict[str, Any], total: str) -> None:
    await _furnish(store)

    assert (await _costs(store, **which)).total.cost_usd == total


async def test_owners_see_their_own_and_nobody_elses(store: StoreBox) -> None:
    await _furnish(store)

    assert (await _costs(store, owner="bob")).total.cost_usd == "64"
    assert (await _costs(store, owner="eve")).total.calls == 0
    assert (await _costs(store, owner=None)).total.cost_usd == "71"
    assert (await _costs(store, owner=None, goal_id="goal_1")).total.cost_usd == "67"


async def test_failed_and_estimated_calls_count_and_unpriced_ones_are_told(
    store: StoreBox,
) -> None:
    await entered(store, "run_1", "1")
    await entered(store, "run_2", "0.25", error="model_timeout", estimated=True)
    await entered(store, "run_3", None, model="openai/new")
    await entered(store, "run_4", None, model="openai/new", error="model_unavailable")

    report = await _costs(store, CostBy.AGENT)
    (line,) = report.lines

    assert (line.calls, line.failed_calls, line.unpriced_calls) == (4, 2, 2)
    assert (line.input_tokens, line.output_tokens, line.cached_tokens) == (400, 80, 20)
    assert line.cost_usd is None
    assert (line.priced_pico, line.estimated_pico) == (1_250_000_000_000, 250_000_000_000)
    assert list(report.unpriced) == [("openai/new", 2)]
    assert line.last_at is not None


async def test_nothing_costs_nothing(store: StoreBox) -> None:
    report = await _costs(store)

    assert report.lines == []
    assert (report.total.calls, report.total.cost_usd) == (0, "0")


@pytest.mark.parametrize("by", [CostBy.MODEL, CostBy.DAY])
async def test_a_report_can_be_walked_line_by_line(store: StoreBox, by: CostBy) -> None:
    for number, usd in enumerate(["3", "1", "3", "2", "0.0000000001"]):
        at = NOON + number * DAY
        await entered(store, f"run_{number}", usd, model=f"openai/{number}", at=at)
    found: list[str | None] = []
    cursor: str | None = None

    while True:
        page = Page(limit=1, cursor=cursor)
        report = await store.costs.costs(OWNER, by, CostFilter(), page)
        found += [line.key for line in report.lines]
        assert Decimal(report.total.cost_usd or 0) == Decimal("9.0000000001")
        cursor = report.cursor
        if cursor is None:
            break

    whole = (await _costs(store, by)).lines
    assert found == [line.key for line in whole]
    assert len(found) == 5
    with pytest.raises(InvalidRequestError):
        await store.costs.costs(OWNER, by, CostFilter(), Page(cursor="x"))


async def test_what_steps_bill_is_what_is_summed(store: StoreBox) -> None:
    """Through the step book, as a run does; a failed attempt is on the bill too."""
    await store.runs.accept(new_run("run_1"))
    error = {"code": "model_timeout", "message": "slow"}
    await store.steps.fail(await open_step(store, "run_1"), bill(error=error, estimated=True))
    await store.steps.close(await open_step(store, "run_1"), answer())

    report = await _costs(store, CostBy.RUN)

    (line,) = report.lines
    assert (line.key, line.calls, line.failed_calls) == ("run_1", 2, 1)
    assert line.priced_pico == 280_000
    assert (await store.runs.get_run(OWNER, "run_1")).usage.cost_usd == line.cost_usd
