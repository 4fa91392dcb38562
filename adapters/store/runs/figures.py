"""What agents did and how much is in transcripts, counted over the rows of an owner."""

from collections import defaultdict
from collections.abc import Mapping

from adapters.store.database.tx import Engine, Row, Tx
from domain.stats import AgentFigures, MemoryFigures

_AGENTS = (
    "SELECT agent_id, state, count(*) AS n, sum(ended_at - started_at) AS took,"
    " sum(CASE WHEN ended_at IS NOT NULL AND started_at IS NOT NULL THEN 1 ELSE 0 END) AS timed,"
    " max(coalesce(ended_at, started_at, created_at)) AS last_at FROM runs"
    " WHERE owner = :owner AND kind = 'agent' AND agent_id IS NOT NULL"
)
_MEMORY = (
    "SELECT coalesce(sum(message_count), 0) AS messages, coalesce(sum(token_count), 0) AS tokens"
    " FROM sessions WHERE owner = :owner"
)


class SqlFigureBook:
    """Figures about agents and transcripts. Source of every promise: `domain.stats.FigureBook`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def agents(self, owner: str, agent_id: str | None = None) -> Mapping[str, AgentFigures]:
        """Return what agents did, by id."""
        return await self._engine.read(lambda tx: _agents(tx, owner, agent_id))

    async def memory(self, owner: str) -> MemoryFigures:
        """Return how much is in transcripts."""
        return await self._engine.read(lambda tx: _memory(tx, owner))


def _agents(tx: Tx, owner: str, agent_id: str | None) -> dict[str, AgentFigures]:
    only, params = "", {"owner": owner}
    if agent_id is not None:
        only, params = " AND agent_id = :agent", {**params, "agent": agent_id}
    rows = defaultdict[str, list[Row]](list)
    for row in tx.all(f"{_AGENTS}{only} GROUP BY agent_id, state", **params):
        rows[row["agent_id"]].append(row)
    return {name: _figures(found) for name, found in rows.items()}


def _figures(rows: list[Row]) -> AgentFigures:
    timed = sum(int(row["timed"]) for row in rows)
    took = sum(int(row["took"] or 0) for row in rows)
    return AgentFigures(
        by_state={row["state"]: int(row["n"]) for row in rows},
        average_ms=took / timed if timed else None,
        last_active=max(int(row["last_at"]) for row in rows),
    )


def _memory(tx: Tx, owner: str) -> MemoryFigures:
    row = tx.one(_MEMORY, owner=owner)
    if row is None:
        return MemoryFigures()
    return MemoryFigures(messages=int(row["messages"]), tokens=int(row["tokens"]))
