"""Looking runs and tool calls up, a row or a page at a time; the owner is part of every query."""

import json
from collections.abc import Sequence

from adapters.store.database.pages import newest_first, where
from adapters.store.database.rows import run_from
from adapters.store.database.tx import Row, Tx
from domain.acceptance import Page, RunFilter
from domain.errors import NotFoundError
from domain.run import Run
from domain.stats import RunStats
from domain.tool import Effect, Resolution, ToolCall, ToolCallStatus

SAMPLE = 1000
"""Runs that times are computed over: the last ones that ended."""
_ENDED = "ended_at IS NOT NULL"
_FAILED_CALLS = "'failed', 'timeout', 'rejected'"
_OPEN = "state IN ('CREATED', 'RUNNING')"


def get_run(tx: Tx, owner: str | None, run_id: str, *, lock: bool = False) -> Run:
    """Return one run, its row locked until the transaction ends if `lock`.

    Raises:
        NotFoundError: no such run for this owner.
    """
    clause, params = where({"run_id": run_id, "owner": owner})
    row = tx.one(f"SELECT * FROM runs{clause}{tx.lock if lock else ''}", **params)
    if row is None:
        raise NotFoundError(f"there is no run {run_id}")
    return run_from(row)


def list_runs(
    tx: Tx, owner: str | None, which: RunFilter, page: Page
) -> tuple[Sequence[Run], str | None]:
    """Return runs, newest first, and the cursor of the next page or None.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    conditions: dict[str, object] = {
        "owner": owner,
        "state": which.state,
        "agent_id": which.agent_id,
        "session_id": which.session_id,
        "kind": which.kind,
        "forked_from": which.forked_from,
        "parent_run_id": which.parent_run_id,
        "root_run_id": which.root_run_id,
        "goal_id": which.goal_id,
    }
    rows, cursor = newest_first(tx, "runs", conditions, page, "run_id")
    return [run_from(row) for row in rows], cursor


def get_tool_call(tx: Tx, owner: str | None, tool_call_id: str) -> ToolCall:
    """Return one tool call.

    Raises:
        NotFoundError: no such call for this owner.
    """
    clause, params = where({"tool_call_id": tool_call_id, "owner": owner})
    row = tx.one(f"SELECT * FROM tool_calls{clause}", **params)
    if row is None:
        raise NotFoundError(f"there is no tool call {tool_call_id}")
    return tool_call_from(row)


def list_tool_calls(
    tx: Tx, owner: str | None, run_id: str | None, status: str | None, page: Page
) -> tuple[Sequence[ToolCall], str | None]:
    """Return tool calls, newest first, and the cursor of the next page or None.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    conditions: dict[str, object] = {"owner": owner, "run_id": run_id, "status": status}
    rows, cursor = newest_first(tx, "tool_calls", conditions, page, "tool_call_id")
    return [tool_call_from(row) for row in rows], cursor


def tool_call_from(row: Row) -> ToolCall:
    """Return a row of `tool_calls` as a value."""
    return ToolCall(
        tool_call_id=row["tool_call_id"],
        owner=row["owner"],
        run_id=row["run_id"],
        step=row["step_id"],
        tool_name=row["tool_name"],
        args=row["args"],
        status=ToolCallStatus(row["status"]),
        result=row["result"],
        error=json.loads(row["error"]) if row["error"] else None,
        effect=Effect(row["effect"]),
        idempotency_key=row["idempotency_key"],
        resolution=Resolution(row["resolution"]) if row["resolution"] else None,
        resolved_by=row["resolved_by"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )


def read_stats(tx: Tx, owner: str | None) -> RunStats:
    """Return counts over all runs and times over the last `SAMPLE` that ended."""
    params: dict[str, object] = {} if owner is None else {"owner": owner}
    # The index on `owner` would lead to every row; as an expression it leaves the narrow indexes.
    mine = "" if owner is None else " AND owner || '' = :owner"
    counts = [
        *tx.all(f"SELECT state, count(*) AS n FROM runs WHERE {_ENDED}{mine} GROUP BY 1", **params),
        *tx.all(f"SELECT state, count(*) AS n FROM runs WHERE {_OPEN}{mine} GROUP BY 1", **params),
    ]
    by_state = {row["state"]: int(row["n"]) for row in counts}
    waiting = tx.all(
        f"SELECT waiting_on, count(*) AS n FROM runs WHERE {_OPEN}{mine}"
        " AND waiting_on IS NOT NULL GROUP BY 1",
        **params,
    )
    sample = tx.all(
        f"SELECT created_at, started_at, ended_at, start_at FROM runs WHERE {_ENDED}{mine}"
        " ORDER BY ended_at DESC LIMIT :sample",
        **params,
        sample=SAMPLE,
    )
    # Led by the index on `status`: only calls that failed are looked at.
    failed_tools = tx.all(
        "SELECT count(*) AS n FROM tool_calls t JOIN runs r ON r.run_id = t.run_id"
        f" WHERE t.status IN ({_FAILED_CALLS}) AND r.kind = 'tool' AND r.state = 'DONE'"
        + ("" if owner is None else " AND r.owner = :owner"),
        **params,
    )
    # How long somebody meant to wait says nothing about us.
    began = [row for row in sample if row["started_at"] is not None and row["start_at"] is None]
    took = sorted(row["ended_at"] - row["started_at"] for row in began)
    waited = sorted(row["started_at"] - row["created_at"] for row in began)
    return RunStats(
        total=sum(by_state.values()),
        by_state=by_state,
        waiting={row["waiting_on"]: int(row["n"]) for row in waiting},
        average_ms=sum(took) / len(took) if took else None,
        p50_ms=_percentile(took, 50),
        p95_ms=_percentile(took, 95),
        wait_p95_ms=_percentile(waited, 95),
        failed_tool_runs=int(failed_tools[0]["n"]),
    )


def _percentile(ordered: Sequence[int], percent: int) -> float | None:
    """Return the nearest-rank percentile: a time that some run really took."""
    if not ordered:
        return None
    return float(ordered[-(-percent * len(ordered) // 100) - 1])
