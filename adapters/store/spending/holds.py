"""Holding an upper bound of budgets before a call, and settling what it really cost after.

Every path on which a call ends comes by here: answered, failed, cut, lost with its worker, ended
with its run, expired.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.store.database.tx import Row, Tx
from adapters.store.spending.payers import Payer
from domain.bounds import CallBound
from domain.budget import WARNINGS
from domain.event import EventDraft, EventType, encode_json
from domain.money import to_usd

_INSERT = (
    "INSERT INTO holds (hold_id, owner, run_id, step_id, attempt, root_run_id, agent_id,"
    " session_id, goal_id, key_id, model, pico, input_tokens, output_tokens, budget_ids, opened_at,"
    " expires_at) VALUES (:hold_id, :owner, :run_id, :step_id, :attempt, :root_run_id, :agent_id,"
    " :session_id, :goal_id, :key_id, :model, :pico, :input, :output, :budget_ids, :now, :expires)"
)
NEVER = 2**62
"""When the hold of a step expires: it ends with its step or its run."""


@dataclass(frozen=True, slots=True)
class HeldCall:
    """Which call a hold is for. `step_id` is None for a call that is no step."""

    hold_id: str
    model: str
    step_id: str | None = None
    attempt: int = 1
    opened_at: int = 0
    expires_at: int = NEVER


def hold_of_step(run_id: str, step_id: str, attempt: int) -> str:
    """Return the id of what is held for one attempt of a step."""
    return f"{run_id}:{step_id}:{attempt}"


def caller_of(run_id: str, step_id: str) -> str:
    """Return the name of a step's call over all its attempts."""
    return f"{run_id}:{step_id}"


def put(
    tx: Tx,
    payer: Payer,
    call: HeldCall,
    bound: CallBound,
    budgets: Sequence[Mapping[str, Any]],
) -> None:
    """Hold what a call can cost at most of each of the (locked) budgets."""
    for budget in budgets:
        tx.run(
            "UPDATE budgets SET reserved_pico = reserved_pico + :pico WHERE budget_id = :id",
            pico=bound.pico or 0,
            id=budget["budget_id"],
        )
    tx.run(
        _INSERT,
        hold_id=call.hold_id,
        owner=payer.owner,
        run_id=payer.run_id,
        step_id=call.step_id,
        attempt=call.attempt,
        root_run_id=payer.root_run_id,
        agent_id=payer.agent_id,
        session_id=payer.session_id,
        goal_id=payer.goal_id,
        key_id=payer.key_id,
        model=call.model,
        pico=bound.pico,
        input=bound.input_tokens,
        output=bound.output_tokens,
        budget_ids=encode_json([budget["budget_id"] for budget in budgets]),
        now=call.opened_at,
        expires=call.expires_at,
    )


def take(tx: Tx, hold_id: str) -> Row | None:
    """Remove a hold and return it, for the one caller that settles it."""
    return tx.one("DELETE FROM holds WHERE hold_id = :id RETURNING *", id=hold_id)


def settle(
    tx: Tx, budgets: Sequence[dict[str, Any]], held: Row | None, cost: int
) -> list[EventDraft]:
    """Turn what was held into what was spent; return the warnings that this leads to.

    `budgets` are those that bound the call now, locked before the hold was taken. One that was made
    meanwhile has held nothing, but it counts what is spent now.
    """
    names = frozenset[str](json.loads(held["budget_ids"])) if held else frozenset[str]()
    drafts = []
    for budget in budgets:
        freed = (held["pico"] or 0) if held and budget["budget_id"] in names else 0
        drafts += _count(tx, budget, freed, cost)
    for name in names - {budget["budget_id"] for budget in budgets}:
        # Its scope no longer matches: a goal that got another parent meanwhile.
        _free(tx, name, (held["pico"] or 0) if held else 0)
    return drafts


def _free(tx: Tx, budget_id: str, pico: int) -> None:
    tx.run(
        "UPDATE budgets SET reserved_pico = reserved_pico - :pico WHERE budget_id = :id",
        pico=pico,
        id=budget_id,
    )


def _count(tx: Tx, budget: dict[str, Any], freed: int, cost: int) -> list[EventDraft]:
    spent = budget["spent_pico"] + cost
    passed = [mark for mark in WARNINGS if spent * 100 >= budget["limit_pico"] * mark]
    warned = max(passed, default=0)
    tx.run(
        "UPDATE budgets SET reserved_pico = reserved_pico - :freed, spent_pico = :spent,"
        " warned = :warned WHERE budget_id = :id",
        freed=freed,
        spent=spent,
        warned=max(warned, budget["warned"]),
        id=budget["budget_id"],
    )
    if warned <= budget["warned"]:
        return []
    data = {
        **shown(budget),
        "percent": warned,
        "spent_usd": to_usd(spent),
        "reserved_usd": to_usd(budget["reserved_pico"] - freed),
    }
    key = f"budget:{budget['budget_id']}:{budget['day']}:{warned}:{budget['limit_pico']}"
    return [EventDraft(type=EventType.BUDGET_WARNING, key=key, data=data)]


def shown(budget: Mapping[str, Any]) -> dict[str, Any]:
    """Return how an event names a budget."""
    return {
        "budget_id": budget["budget_id"],
        "scope": budget["scope"],
        "scope_id": budget["scope_id"],
        "limit_usd": to_usd(budget["limit_pico"]),
        "spent_usd": to_usd(budget["spent_pico"]),
        "reserved_usd": to_usd(budget["reserved_pico"]),
    }
