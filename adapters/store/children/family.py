"""Trees of runs as rows: who stands above a run, who below, and what a whole tree has used.

Rows of one tree are locked from the top down, everywhere, and sessions before all runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adapters.store.database.tx import Row, Tx
from adapters.store.steps.fence import lock_run
from domain.agent import Limits
from domain.family import Holder
from domain.money import to_pico, to_usd
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


@dataclass(frozen=True, slots=True)
class TreeUse:
    """Picodollars and tokens that a run and all below it have used, and what their calls hold."""

    pico: int
    tokens: int
    held_pico: int
    held_tokens: int


def tree_use(tx: Tx, run: Row) -> TreeUse:
    """Return what a run and all below it have used, and what is held for their calls."""
    if not run["spawned"]:
        tokens = run["input_tokens"] + run["output_tokens"]
        return TreeUse(run["cost_pico"], tokens, run["reserved_pico"], run["reserved_tokens"])
    row = tx.one(
        f"{_BELOW} SELECT sum(r.cost_pico) AS pico, sum(r.reserved_pico) AS held_pico,"
        " sum(r.input_tokens + r.output_tokens) AS tokens, sum(r.reserved_tokens) AS held_tokens"
        " FROM runs r JOIN below b ON b.run_id = r.run_id",
        id=run["run_id"],
    )
    assert row is not None
    return TreeUse(*(int(row[name]) for name in ("pico", "tokens", "held_pico", "held_tokens")))


def holder_of(tx: Tx, row: Row, child_depth: int, now: int) -> Holder:
    """Return what one run above a new child has used and has left.

    What its calls hold right now is not used: the child waits for it where it makes a call.
    """
    limits = RunSpec.model_validate_json(row["spec"]).limits
    use = tree_use(tx, row)
    stays = _awaits_agent(tx, row)
    return Holder(
        run_id=row["run_id"],
        limits=limits,
        distance=child_depth - row["depth"],
        spawned=row["spawned"],
        spent_pico=use.pico + (row["reserved_pico"] if stays else 0),
        spent_tokens=use.tokens + (row["reserved_tokens"] if stays else 0),
        seconds_left=_seconds_left(limits, row, now),
    )


def _awaits_agent(tx: Tx, row: Row) -> bool:
    """Whether a run holds something for an external agent at work.

    That may wait for what it has started itself: below it, such a hold counts as used, since a run
    that waited for its end would wait for itself.
    """
    if not row["reserved_tokens"]:
        return False
    sql = "SELECT 1 AS one FROM steps WHERE run_id = :id AND state = 'open' AND step_id LIKE :step"
    return tx.one(sql, id=row["run_id"], step="invoke-%") is not None


def _seconds_left(limits: Limits, row: Row, now: int) -> float | None:
    if limits.max_seconds is None:
        return None
    return limits.max_seconds - (now - (row["started_at"] or now)) / 1000


@dataclass(frozen=True, slots=True)
class Cap:
    """A cap as the tree below its run stands, in picodollars or tokens; `held` is by its calls."""

    name: Literal["max_cost_usd", "max_tokens"]
    run_id: str
    limit: int
    used: int
    held: int

    @property
    def left(self) -> int:
        """Return what another call may take now."""
        return self.limit - self.used - self.held

    @property
    def rest(self) -> int:
        """Return what it could take at best, once no other call is under way."""
        return self.limit - self.used

    def amount(self, number: int) -> str:
        """Return so much of it in words."""
        if self.name == "max_tokens":
            return f"{max(0, number)} tokens"
        return f"{to_usd(max(0, number))} USD"


def caps_over(tx: Tx, run: Row, spec: RunSpec) -> Sequence[Cap]:
    """Return the caps that a model call of a run has to meet: its own, and those of runs above.

    Each holds for the whole tree below its run.
    """
    caps: list[Cap] = []
    pico = tokens = 0
    for row in reversed(line_above(tx, run)):
        is_own, run_id = row["run_id"] == run["run_id"], row["run_id"]
        if not is_own and _awaits_agent(tx, row):
            pico, tokens = pico + row["reserved_pico"], tokens + row["reserved_tokens"]
        limits = spec.limits if is_own else RunSpec.model_validate_json(row["spec"]).limits
        if limits.max_cost_usd is None and limits.max_tokens is None:
            continue
        use = tree_use(tx, row)
        if limits.max_cost_usd is not None:
            most = to_pico(limits.max_cost_usd)
            held = use.held_pico - pico
            caps.append(Cap("max_cost_usd", run_id, most, use.pico + pico, held))
        if limits.max_tokens is not None:
            most, held = limits.max_tokens, use.held_tokens - tokens
            caps.append(Cap("max_tokens", run_id, most, use.tokens + tokens, held))
    return caps
