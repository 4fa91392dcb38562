"""Retries of parents whose children were cut: on the engine, with effects that are counted."""

import json

from domain.event import EventType
from domain.family import child_run_id
from domain.fork import Edits, Forking
from domain.run import RunState
from tests.rig.scripts import hand_down
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage

SPAWN = "tool-1-0"


async def retried(stage: Stage, run_id: str) -> str:
    ports, settings = stage.intake._ports, stage.intake._settings
    forking = Forking(ports, stage.storage.forks, stage.storage.dead_letters, settings)
    return (await forking.retry(ANN, run_id, Edits())).run.run_id


async def test_a_retry_of_a_parent_repeats_no_effect_of_its_child(make_stage: Make) -> None:
    async with make_stage(tools=TARGETS) as stage:
        await stage.agent("payer", tools=["charge_keyed"])
        await stage.agent(tools=["spawn_run"])
        charge = f"call charge_keyed {json.dumps({'url': stage.ledger_url})}"
        script = hand_down(f"{charge}\n---\nsay paid\nfirst_ms=1500", "payer")
        run = await stage.start(f"{script}\n---\nsay {{result}}")
        child = child_run_id(run.run_id, SPAWN)
        await stage.seen(child, EventType.TOOL_RESULT)
        await stage.intake.cancel(ANN, run.run_id, None)
        await stage.ended(child)
        await stage.ended(run.run_id)

        again = await stage.ended(await retried(stage, run.run_id))

        assert again.state is RunState.DONE
        assert again.output is not None
        assert "paid" in again.output["content"]
        assert [effect.arrivals for effect in stage.ledger.effects.values()] == [1]
        made = await stage.get(child_run_id(again.run_id, SPAWN))
        assert made.forked_from is not None
        assert made.forked_from.run_id == child
