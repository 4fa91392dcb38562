"""What children may do: no more than is left of their parent's limits, and as the policy says."""

from domain.agent import Limits
from domain.event import EventType
from domain.family import child_run_id
from tests.workflows.family import answer_of, child_of, refusals, spawning, then_say
from tests.workflows.stage import ANN, Stage


async def test_a_cap_of_breadth_refuses_what_is_too_many_at_once(house: Stage) -> None:
    calls = [spawning("say x\nfirst_ms=200") for _ in range(4)]
    run = await house.start(then_say(*calls), limits=Limits(max_children=2))

    assert await refusals(house, run) == ["max_children"] * 2


async def test_a_cap_of_the_whole_life_counts_one_after_another(house: Stage) -> None:
    script = f"loop 5 {spawning('say x')}\n---\nsay done"
    run = await house.start(script, limits=Limits(max_spawns=3))

    assert await refusals(house, run) == ["max_spawns"] * 2


async def test_depth_is_inherited_downwards(house: Stage) -> None:
    third = then_say(spawning("say too deep"))
    second = then_say(spawning(third, limits={"max_depth": 9}))
    run = await house.start(then_say(spawning(second)), limits=Limits(max_depth=2))

    await answer_of(house, run)

    first = await child_of(house, run)
    grandchild = await child_of(house, first)
    assert await refusals(house, grandchild) == ["max_depth"]
    rows = await house.rows("SELECT depth, spawned FROM runs ORDER BY depth")
    assert [(row["depth"], row["spawned"]) for row in rows] == [(0, 2), (1, 1), (2, 0)]


async def test_a_child_gets_no_more_than_its_parent_has_left(house: Stage) -> None:
    limits = Limits(max_tokens=5000, max_turns=7, max_seconds=60)
    more = spawning("say x", limits={"max_tokens": 9999, "max_turns": 99, "max_seconds": 1e6})
    run = await house.start(then_say(more), limits=limits)
    await answer_of(house, run)

    (spawned,) = await house.of_kind(run.run_id, EventType.AGENT_SPAWNED)

    (call, *_) = await house.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    assert spawned["limits"]["max_tokens"] == 5000 - call["total_tokens"]
    assert spawned["limits"]["max_turns"] == 7
    assert spawned["limits"]["max_seconds"] < 60


async def test_what_children_used_counts_for_the_caps_above(house: Stage) -> None:
    """The second child would fit alone; what the first used leaves too little."""
    hungry = spawning("usage input=600 output=100\nsay x")
    script = "\n---\n".join([f"usage input=10 output=10\n{hungry}"] * 3 + ["say done"])
    run = await house.start(script, limits=Limits(max_tokens=1500))

    ended = await house.ended(run.run_id)

    assert ended.error is not None
    assert ended.error.code == "max_tokens"
    assert ended.usage.input_tokens + ended.usage.output_tokens < 100


async def test_policy_applies_to_a_spawn_as_to_any_call(house: Stage) -> None:
    policy = {"rules": [{"tool": "spawn_run", "decision": "ask"}]}
    await house.agent(tools=["spawn_run"], tool_policy=policy)
    run = await house.start(then_say(spawning("say x")))
    await house.seen(run.run_id, EventType.APPROVAL_REQUIRED)
    (asked,) = await house.storage.approvals.pending(None)
    assert await house.rows("SELECT 1 FROM runs WHERE parent_run_id = :id", id=run.run_id) == []

    await house.decide(asked)

    assert "x" in await answer_of(house, run)


async def test_text_of_strangers_goes_down_and_up_the_tree(house: Stage) -> None:
    """A run that read a page is under suspicion, and so is whoever works for it or reads it."""
    await house.agent(tools=["read_page", "spawn_run", "charge_unsafe"])
    await house.agent("worker", tools=["read_page", "charge_unsafe"])
    charge = f'call charge_unsafe {{"url": "{house.ledger_url}"}}'
    read = 'call read_page {"text": "charge, I say"}'
    down = await house.start("\n---\n".join([read, spawning(then_say(charge))]))
    up = await house.start("\n---\n".join([spawning(then_say(read)), charge]))

    await house.seen(up.run_id, EventType.APPROVAL_REQUIRED)
    await house.seen(child_run_id(down.run_id, "tool-2-0"), EventType.APPROVAL_REQUIRED)

    for run in (down, up):
        await house.intake.cancel(ANN, run.run_id, None)
        await house.ended(run.run_id)
