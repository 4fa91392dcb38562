"""Whose answer a run's was, and what was seen in it: from its steps. Knows no prices."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters.store.database.tx import Tx
from domain.learning.lessons import RunFacts
from domain.step import KEPT, step_place
from domain.tiers import ModelTier

_CLOSED = " FROM steps WHERE run_id = :id AND state = 'closed' AND model IS NOT NULL"

Standing = Mapping[str, Sequence[Any]]
"""By model its tier, and what was expected of that; as `Chosen.standing` is stored."""


def models(tx: Tx, run_id: str) -> Sequence[str]:
    """Return the models that answered a run, answers that were put aside included."""
    return [row["model"] for row in tx.all(f"SELECT DISTINCT model{_CLOSED}", id=run_id)]


def of(tx: Tx, facts: RunFacts, standing: Standing) -> RunFacts:
    """Return the facts of a run with the tier whose answer counted, and what the look found.

    A tier whose provider failed has no part in it; an answer that was put aside only where it was
    broken.
    """
    rows = tx.all(f"SELECT step_id, model, result{_CLOSED}", id=facts.run_id)
    rows = sorted(rows, key=lambda row: step_place(row["step_id"]))
    results = [(row["model"], json.loads(row["result"] or "{}")) for row in rows]
    aside = [(model, result) for model, result in results if result.get("weak")]
    counted = [(model, result) for model, result in results if not result.get("weak")]
    broken = [model for model, result in aside if result.get("broken") and _known(standing, model)]
    facts = replace(facts, broken=tuple(_expected(standing[model]) for model in broken))
    if not counted:
        return facts
    model, result = counted[-1]
    if model == KEPT and aside:
        model, result = aside[-1]
    facts = replace(facts, passed=result.get("passed"))
    if facts.tier is None or not standing:
        return facts
    tier, predicted = standing.get(model, (None, None))
    return replace(facts, tier=ModelTier(tier) if tier else None, predicted=predicted)


def _known(standing: Standing, model: str) -> bool:
    return standing.get(model, (None, None))[1] is not None


def _expected(stood: Sequence[Any]) -> tuple[ModelTier, float]:
    return ModelTier(stood[0]), float(stood[1])
