"""The `ForkBook` over a database."""

import json

from adapters.store.database.pages import where
from adapters.store.database.rows import run_from
from adapters.store.database.tx import Engine, Tx
from domain.errors import NotFoundError
from domain.fork import ForkSource
from domain.run import RunSpec


class SqlForkBook:
    """Runs as forks see them. Source of every promise: `domain.fork.ForkBook`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def source(self, owner: str | None, run_id: str) -> ForkSource:
        """Return the run to fork."""
        return await self._engine.read(lambda tx: _source(tx, owner, run_id))


def _source(tx: Tx, owner: str | None, run_id: str) -> ForkSource:
    clause, params = where({"run_id": run_id, "owner": owner})
    row = tx.one(f"SELECT * FROM runs{clause}", **params)
    if row is None:
        raise NotFoundError(f"there is no run {run_id}")
    spec = RunSpec.model_validate_json(row["spec"])
    return ForkSource(run_from(row), spec, json.loads(row["input"])["content"])
