"""How far goals are: counted over the runs for them and for the goals below."""

from collections import defaultdict
from collections.abc import Sequence

from adapters.store.database.pages import listed
from adapters.store.database.tx import Tx
from domain.budget import DAY_MS, day_of
from domain.goal import GoalProgress
from domain.money import to_usd

_BELOW = (
    "WITH RECURSIVE below(top, owner, goal_id) AS (SELECT goal_id, owner, goal_id FROM goals"
    " WHERE goal_id IN ({ids}) UNION SELECT b.top, b.owner, g.goal_id FROM goals g"
    " JOIN below b ON g.parent_goal_id = b.goal_id WHERE g.owner = b.owner) "
)
_RUNS = (
    f"{_BELOW}SELECT b.top, r.state, r.waiting_on, count(*) AS n, sum(r.cost_pico) AS pico,"
    " sum(r.unpriced_calls) AS unpriced FROM below b JOIN runs r ON r.goal_id = b.goal_id"
    " WHERE r.owner = b.owner GROUP BY b.top, r.state, r.waiting_on"
)
_TODAY = (
    f"{_BELOW}SELECT b.top, sum(u.cost_pico) AS pico FROM below b JOIN usage u"
    " ON u.goal_id = b.goal_id AND u.owner = b.owner WHERE u.created_at >= :since GROUP BY b.top"
)


def read(tx: Tx, goal_ids: Sequence[str], now: int) -> dict[str, GoalProgress]:
    """Return the progress of each goal."""
    if not goal_ids:
        return {}
    marks, params = listed(goal_ids)
    since = day_of(now) * DAY_MS
    today = tx.all(_TODAY.format(ids=marks), **params, since=since)
    spent_today = {row["top"]: int(row["pico"] or 0) for row in today}
    rows = defaultdict(list)
    for row in tx.all(_RUNS.format(ids=marks), **params):
        rows[row["top"]].append(row)
    found = {}
    for goal_id in goal_ids:
        states: dict[str, int] = defaultdict(int)
        waiting: dict[str, int] = defaultdict(int)
        for row in rows[goal_id]:
            states[row["state"]] += int(row["n"])
            if row["waiting_on"] is not None and row["state"] == "RUNNING":
                waiting[row["waiting_on"]] += int(row["n"])
        found[goal_id] = GoalProgress(
            runs=dict(states),
            waiting=dict(waiting),
            spent_today_usd=to_usd(spent_today.get(goal_id, 0)),
            spent_total_usd=to_usd(sum(int(row["pico"] or 0) for row in rows[goal_id])),
            unpriced_calls=sum(int(row["unpriced"] or 0) for row in rows[goal_id]),
        )
    return found
