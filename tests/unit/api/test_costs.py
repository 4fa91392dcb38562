"""Costs over HTTP."""

import httpx2
import pytest

from domain.costs import CostBy, CostFilter, CostLine
from tests.fakes.world import World

MINUTE = 1_763_632_800_000


async def test_what_is_asked_for_reaches_the_ledger(
    client: httpx2.AsyncClient, world: World
) -> None:
    path = (
        "/v1/costs?by=day&since=2025-11-20T10:00:00Z&until=2025-11-20T10:01:00Z&run_id=run_1"
        "&root_run_id=run_2&agent_id=a&session_id=s&goal_id=g&key_id=k&model=openai/a/b:c"
    )

    answer = await client.get(path)

    assert answer.status_code == 200, answer.text
    which = CostFilter(
        MINUTE, MINUTE + 60_000, "run_1", "run_2", "a", "s", "g", "k", "openai/a/b:c"
    )
    assert world.costs.asked == [("local", CostBy.DAY, which)]


async def test_an_unknown_price_is_null_and_warned_about(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.costs.lines = [
        CostLine("openai/x", calls=2, priced_pico=5 * 10**11),
        CostLine("openai/new", calls=1, unpriced_calls=1),
    ]
    world.costs.unpriced = [("openai/new", 1)]

    said = (await client.get("/v1/costs")).json()

    assert [line["cost_usd"] for line in said["costs"]] == ["0.5", None]
    assert (said["total"]["cost_usd"], said["total"]["priced_usd"]) == (None, "0.5")
    assert [(one["code"], one["model"]) for one in said["warnings"]] == [
        ("price_unknown", "openai/new")
    ]


async def test_a_report_comes_in_pages(client: httpx2.AsyncClient, world: World) -> None:
    world.costs.lines = [CostLine(str(number)) for number in range(3)]

    first = (await client.get("/v1/costs?limit=2")).json()
    rest = (await client.get(f"/v1/costs?limit=2&cursor={first['next_cursor']}")).json()

    assert [line["key"] for line in (*first["costs"], *rest["costs"])] == ["0", "1", "2"]
    assert (first["has_more"], rest["has_more"]) == (True, False)


@pytest.mark.parametrize(
    "query", ["by=colour", "since=yesterday", "since=5", "limit=0", "nonsense=1", "run_id=%20"]
)
async def test_a_question_that_makes_no_sense_is_refused(
    client: httpx2.AsyncClient, query: str
) -> None:
    assert (await client.get(f"/v1/costs?{query}")).status_code == 422
