"""Whether a goal takes one more run: looked at in the transaction that accepts it."""

from collections.abc import Sequence

from adapters.store.database.tx import Row, Tx
from domain.acceptance import NewRun
from domain.errors import ConflictError, LimitReachedError, NotFoundError
from domain.goal import MAX_GOAL_DEPTH, OPEN
from domain.run import RunKind

BELOW = (
    "WITH RECURSIVE below(goal_id) AS (SELECT goal_id FROM goals WHERE goal_id = :goal"
    " UNION SELECT g.goal_id FROM goals g JOIN below b ON g.parent_goal_id = b.goal_id"
    " WHERE g.owner = :owner) "
)
"""A goal and all goals below it."""
_AGENTS = (
    f"{BELOW}SELECT count(*) AS n FROM runs WHERE goal_id IN (SELECT goal_id FROM below)"
    " AND kind = 'agent'"
)
_AT_ONCE = f"{_AGENTS} AND state IN ('CREATED', 'RUNNING')"
_HELP = {
    "max_agents": "raise it with PATCH /v1/goals/{goal_id}",
    "max_concurrent": "wait until one has ended, or raise it with PATCH /v1/goals/{goal_id}",
}


def admit(tx: Tx, new: NewRun, parent: Row | None, now: int) -> str | None:
    """Return the goal that a new run is for, its parent's if it has one.

    A run's children count, and are not refused for the goal's state: they belong to work that
    goes on. So does a fork whose goal is gone: it has none then.

    Raises:
        NotFoundError: no such goal for this owner.
        ConflictError: the goal, or one above it, takes no new runs.
        LimitReachedError: `max_agents` or `max_concurrent` of one of them is reached.
    """
    goal_id = parent["goal_id"] if parent else new.goal_id
    if goal_id is None or new.kind is RunKind.TOOL:
        return goal_id
    line = lock_line(tx, new.owner, goal_id)
    if not line:
        if parent is None and new.fork is None:
            raise NotFoundError(f"there is no goal {goal_id}", field="goal_id")
        return goal_id if parent else None
    for goal in line:
        if parent is None and goal["state"] not in OPEN:
            raise ConflictError(
                f"goal {goal['goal_id']} is {goal['state']} and takes no new runs; change its state"
                " to in_progress first"
            )
        _check(tx, goal, "max_agents", _AGENTS)
        _check(tx, goal, "max_concurrent", _AT_ONCE)
        tx.run(
            "UPDATE goals SET state = 'in_progress', updated_at = :now"
            " WHERE goal_id = :goal AND state = 'created'",
            goal=goal["goal_id"],
            now=now,
        )
    return goal_id


def lock_line(tx: Tx, owner: str, goal_id: str) -> Sequence[Row]:
    """Return a goal and those above it, the top one first, locked in that order."""
    ids: list[str] = []
    following: str | None = goal_id
    while following is not None and len(ids) < MAX_GOAL_DEPTH:
        row = _goal(tx, owner, following, "")
        if row is None:
            break
        ids.append(row["goal_id"])
        following = row["parent_goal_id"]
    locked = (_goal(tx, owner, one, tx.lock) for one in reversed(ids))
    return [row for row in locked if row is not None]


def _goal(tx: Tx, owner: str, goal_id: str, lock: str) -> Row | None:
    sql = f"SELECT * FROM goals WHERE goal_id = :goal AND owner = :owner{lock}"
    return tx.one(sql, goal=goal_id, owner=owner)


def _check(tx: Tx, goal: Row, limit: str, count: str) -> None:
    most = goal[limit]
    if most is None:
        return
    row = tx.one(count, goal=goal["goal_id"], owner=goal["owner"])
    if row is not None and row["n"] >= most:
        said = f"goal {goal['goal_id']} has {row['n']} runs, its limit {limit}: {_HELP[limit]}"
        raise LimitReachedError(said, reason=limit)
