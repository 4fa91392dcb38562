"""Trees of runs as rows: who stands above a run, who below, and what a whole tree has used.

Rows of one tree are locked from the top down, everywhere, and sessions before all runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.store.database.tx import Row, Tx
from adapters.store.steps.fence import lock_run
from domain.agent import Limits
from domain.errors import StepRefusedError
from domain.family import Holder
from domain.money import to_pico
from domain.run import RunSpec

_ABOVE = (
    "WITH RECURSIVE above(run_id, parent_run_id) AS ("
    " SELECT run_id, parent_run_id FROM runs WHERE run_id = :id UNION ALL"
    " SELECT r.run_id, r.parent_run_id FROM runs r JOIN above a ON r.run_id = a.parent_run_id)"
)
_BELOW = (
    "WITH RECURSIVE below(run_id) AS (SELECT run_id FROM runs WHERE run_id = :id UNION ALL"
    " SELECT r.run_id FROM runs r JOIN below b ON r.parent_run_id = b.run_id)"
)
_OPEN = "state IN ('CREATED', 'RUNNING')"


def lock_line(tx: Tx, run_id: str) -> Sequence[Row]:
    """Return a run and those above it, the root first, locked in that order after its session."""
    if tx.lock:
        tx.one(
            "SELECT s.session_id FROM sessions AS s JOIN runs AS r ON r.owner = s.owner"
            f" AND r.session_id = s.session_id WHERE r.run_id = :id{tx.lock} OF s",
            id=run_id,
        )
    names = tx.all(
        f"{_ABOVE} SELECT r.run_id FROM runs r JOIN above a ON a.run_id = r.run_id"
        " ORDER BY r.depth",
        id=run_id,
    )
    return [lock_run(tx, row["run_id"]) for row in names]


def line_above(tx: Tx, run: Row) -> Sequence[Row]:
    """Return the runs above one, the root first, and the run itself last; nothing is locked."""
    if run["parent_run_id"] is None:
        return [run]
    return tx.all(
        f"{_ABOVE} SELECT r.* FROM runs r JOIN above a ON a.run_id = r.run_id ORDER BY r.depth",
        id=run["run_id"],
    )


def subtree_heads(tx: Tx, run_id: str) -> Sequence[Row]:
    """Return how far the log of a run, and of each below it, has come; top down."""
    return tx.all(
        f"{_BELOW} SELECT r.run_id, r.parent_run_id, r.depth, r.state, r.last_seq"
        " FROM runs r JOIN below b ON b.run_id = r.run_id ORDER BY r.depth, r.run_id",
        id=run_id,
    )


def mark_stopped(tx: Tx, run_id: str, reason: str | None, now: int) -> int:
    """Note of every open run below one that it is to stop; return how many were not asked before.

    The caller holds the lock of the run itself. A run that is being spawned meanwhile either is
    seen here, or is refused because its line says so.
    """
    marked = 0
    while True:
        # Level by level: what is below a locked run cannot grow any more.
        found = tx.all(
            f"{_BELOW} SELECT r.run_id FROM runs r JOIN below b ON b.run_id = r.run_id"
            f" WHERE r.run_id <> :id AND r.{_OPEN} AND r.cancel_asked_at IS NULL"
            " ORDER BY r.depth, r.run_id",
            id=run_id,
        )
        if not found:
            return marked
        for row in found:
            lock_run(tx, row["run_id"])
            marked += tx.run(
                "UPDATE runs SET cancel_asked_at = :now, cancel_reason = :reason"
                f" WHERE run_id = :id AND {_OPEN} AND cancel_asked_at IS NULL",
                now=now,
                reason=reason,
                id=row["run_id"],
            )


def ask_to_stop(tx: Tx, run_id: str, reason: str | None, now: int) -> None:
    """Note that an open run and all below it are to stop; the first reason counts."""
    lock_run(tx, run_id)
    tx.run(
        "UPDATE runs SET cancel_asked_at = :now, cancel_reason = :reason"
        f" WHERE run_id = :id AND {_OPEN} AND cancel_asked_at IS NULL",
        now=now,
        reason=reason,
        id=run_id,
    )
    mark_stopped(tx, run_id, reason, now)


def to_stop(tx: Tx, run_id: str) -> Sequence[Row]:
    """Return the runs below one that were asked to stop and have not ended, top down."""
    return tx.all(
        f"{_BELOW} SELECT r.* FROM runs r JOIN below b ON b.run_id = r.run_id"
        f" WHERE r.run_id <> :id AND r.{_OPEN} AND r.cancel_asked_at IS NOT NULL"
        " ORDER BY r.depth, r.created_at, r.run_id",
        id=run_id,
    )


def tree_spent(tx: Tx, run: Row) -> tuple[int, int]:
    """Return the picodollars and tokens that a run and all below it have used or hold."""
    if not run["spawned"]:
        tokens = run["input_tokens"] + run["output_tokens"] + run["reserved_tokens"]
        return run["cost_pico"] + run["reserved_pico"], tokens
    row = tx.one(
        f"{_BELOW} SELECT sum(r.cost_pico + r.reserved_pico) AS pico,"
        " sum(r.input_tokens + r.output_tokens + r.reserved_tokens) AS tokens"
        " FROM runs r JOIN below b ON b.run_id = r.run_id",
        id=run["run_id"],
    )
    assert row is not None
    return int(row["pico"]), int(row["tokens"])


def holder_of(tx: Tx, row: Row, child_depth: int, now: int) -> Holder:
    """Return what one run above a new child has used and has left."""
    limits = RunSpec.model_validate_json(row["spec"]).limits
    pico, tokens = tree_spent(tx, row)
    return Holder(
        run_id=row["run_id"],
        limits=limits,
        distance=child_depth - row["depth"],
        spawned=row["spawned"],
        spent_pico=pico,
        spent_tokens=tokens,
        seconds_left=_seconds_left(limits, row, now),
    )


def _seconds_left(limits: Limits, row: Row, now: int) -> float | None:
    if limits.max_seconds is None:
        return None
    return limits.max_seconds - (now - (row["started_at"] or now)) / 1000


@dataclass(frozen=True, slots=True)
class Left:
    """What the tree around a run leaves for its next model call; None where no cap says."""

    pico: int | None = None
    tokens: int | None = None


def check_tree(tx: Tx, run: Row, next_pico: int) -> Left:
    """Refuse a model call that a cap of this run, or of one above, does not cover.

    Each cap holds for the whole tree below its run. A run alone is judged elsewhere.

    Raises:
        StepRefusedError: `max_cost_usd` or `max_tokens`.
    """
    if run["parent_run_id"] is None and not run["spawned"]:
        return Left()
    left: dict[str, int] = {}
    for row in line_above(tx, run):
        limits = RunSpec.model_validate_json(row["spec"]).limits
        if limits.max_cost_usd is None and limits.max_tokens is None:
            continue
        pico, tokens = tree_spent(tx, row)
        if limits.max_cost_usd is not None:
            _keep(left, "max_cost_usd", to_pico(limits.max_cost_usd) - pico, row, next_pico)
        if limits.max_tokens is not None:
            _keep(left, "max_tokens", limits.max_tokens - tokens, row)
    return Left(left.get("max_cost_usd"), left.get("max_tokens"))


def _keep(left: dict[str, int], name: str, amount: int, row: Row, needed: int = 0) -> None:
    if amount <= 0 or amount < needed:
        raise StepRefusedError(
            f"run {row['run_id']} and the runs below it reached its cap {name}", reason=name
        )
    left[name] = min(left.get(name, amount), amount)
