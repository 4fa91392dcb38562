"""What was chosen for runs, a row for each where anything was, and what they can teach."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.store.database.tx import Row, Tx
from adapters.store.learning import answers
from domain.acceptance import NewRun
from domain.errors import NotFoundError
from domain.event import encode_json
from domain.learning.books import Reached
from domain.learning.lessons import RunFacts
from domain.money import PICO_PER_USD
from domain.routing.deciding import SESSION_IDLE_MS
from domain.routing.ladder import higher, rank
from domain.run import RunState
from domain.tiers import ModelTier

_FACTS = (
    "SELECT r.run_id, r.owner, r.agent_id, r.input, r.state, r.error, r.cost_pico,"
    " r.unpriced_calls, o.task_class, o.tier, o.features FROM runs AS r"
)
_ENDED = "r.state IN ('DONE', 'FAILED', 'CANCELLED')"
_LOOKS_BACK = 50
"""Runs of a session in which its highest tier is looked for."""


def put(tx: Tx, new: NewRun, now: int) -> None:
    """Note what was chosen for a run, if anything was."""
    if new.chosen is None:
        return
    tx.run(
        "INSERT INTO route_outcomes (run_id, owner, agent_id, task_class, tier, features,"
        " labelled, created_at, updated_at) VALUES (:run_id, :owner, :agent_id, :task_class,"
        " :tier, :features, :labelled, :now, :now)",
        run_id=new.run_id,
        owner=new.owner,
        agent_id=new.agent_id,
        task_class=new.chosen.task_class,
        tier=new.chosen.tier,
        features=encode_json(
            {
                "criteria": dict(new.chosen.criteria),
                "predicted": new.chosen.predicted,
                "standing": dict(new.chosen.standing),
            }
        ),
        labelled=False,
        now=now,
    )


def facts(tx: Tx, owner: str | None, run_id: str, by: str) -> RunFacts:
    """Return what a run can teach.

    Raises:
        NotFoundError: no such run for this owner.
    """
    of_owner = "" if owner is None else " AND r.owner = :owner"
    row = tx.one(
        f"{_FACTS} LEFT JOIN route_outcomes AS o ON o.run_id = r.run_id"
        f" WHERE r.run_id = :run_id{of_owner}",
        run_id=run_id,
        **({} if owner is None else {"owner": owner}),
    )
    if row is None:
        raise NotFoundError(f"there is no run {run_id}")
    rated = tx.one(
        "SELECT 1 AS one FROM feedback WHERE run_id = :run_id AND by = :by LIMIT 1",
        run_id=run_id,
        by=by,
    )
    known = _facts_from(row, is_rated=rated is not None)
    return answers.of(tx, known, json.loads(row["features"] or "{}").get("standing", {}))


def ended(tx: Tx, owner: str, limit: int) -> Sequence[RunFacts]:
    """Return runs that something was chosen for, that have ended and are not taken in yet."""
    rows = tx.all(
        f"{_FACTS} JOIN route_outcomes AS o ON o.run_id = r.run_id WHERE o.owner = :owner"
        f" AND NOT o.labelled AND {_ENDED} ORDER BY o.created_at, o.run_id LIMIT :limit",
        owner=owner,
        limit=limit,
    )
    return [_facts_from(row, is_rated=False) for row in rows]


def take_in(tx: Tx, runs: Mapping[str, float | None], now: int) -> None:
    """Note that runs taught what they can, and what they were worth."""
    for run_id in sorted(runs):
        tx.run(
            "UPDATE route_outcomes SET utility = :utility, labelled = :labelled,"
            " updated_at = :now WHERE run_id = :run_id",
            utility=runs[run_id],
            labelled=True,
            now=now,
            run_id=run_id,
        )


def reached(tx: Tx, owner: str, session_id: str) -> Reached:
    """Return how far a session has come, as far back as a page of its runs goes."""
    rows = tx.all(
        "SELECT r.run_id, r.created_at, o.tier, o.features FROM runs AS r"
        " LEFT JOIN route_outcomes AS o ON o.run_id = r.run_id"
        " WHERE r.owner = :owner AND r.session_id = :session_id"
        " ORDER BY r.created_at DESC LIMIT :most",
        owner=owner,
        session_id=session_id,
        most=_LOOKS_BACK,
    )
    tier: ModelTier | None = None
    before: int | None = None
    for row in rows:
        if before is not None and before - row["created_at"] >= SESSION_IDLE_MS:
            break
        before = row["created_at"]
        tier = higher(_tier_of(tx, row), tier) if row["tier"] else tier
    held = tx.one(
        "SELECT message_count FROM sessions WHERE owner = :owner AND session_id = :session_id",
        owner=owner,
        session_id=session_id,
    )
    messages = held["message_count"] if held else 0
    return Reached(tier, rows[0]["created_at"] if rows else 0, messages)


def _tier_of(tx: Tx, row: Row) -> ModelTier:
    """Return the highest tier that answered a run, at least the one it was begun with."""
    first = ModelTier(row["tier"])
    standing = json.loads(row["features"]).get("standing", {})
    tiers = {ModelTier(tier) for tier, _ in standing.values()}
    if tiers <= {first}:
        return first
    asked = answers.models(tx, row["run_id"])
    return max((first, *(ModelTier(standing[m][0]) for m in asked if m in standing)), key=rank)


def _facts_from(row: Row, *, is_rated: bool) -> RunFacts:
    features: dict[str, Any] = json.loads(row["features"] or "{}")
    error = json.loads(row["error"]) if row["error"] else {}
    return RunFacts(
        run_id=row["run_id"],
        owner=row["owner"],
        agent_id=row["agent_id"],
        request=json.loads(row["input"]).get("content", ""),
        state=RunState(row["state"]),
        error_code=error.get("code"),
        cost_usd=None if row["unpriced_calls"] else row["cost_pico"] / PICO_PER_USD,
        task_class=row["task_class"],
        tier=ModelTier(row["tier"]) if row["tier"] else None,
        predicted=features.get("predicted"),
        criteria=features.get("criteria", {}),
        is_rated=is_rated,
    )
