"""The health of external agents over a database: one row of each, read, judged and written.

The row of the agent itself is locked while its health changes, so no two changes are lost.
"""

import json
from collections.abc import Callable, Mapping, Sequence

from adapters.store.database.tx import Engine, Row, Tx
from adapters.store.registry.agents import SHARED
from domain import agenthealth
from domain.agent import AgentKind
from domain.agenthealth import (
    AgentHealth,
    Callee,
    CheckTarget,
    Health,
    HealthRecord,
    HealthRules,
    Report,
)
from domain.errors import NotFoundError
from domain.event import encode_json
from domain.ports import Clock

Change = Callable[[HealthRecord, int], HealthRecord]

_SELECT = (
    "SELECT a.owner AS agent_owner, a.agent_id AS id, a.body, a.created_at, h.* FROM agents AS a"
    " LEFT JOIN agent_health AS h ON h.owner = a.owner AND h.agent_id = a.agent_id"
)
_IS_HTTP = """ a.body LIKE '%"kind":"http"%'"""
"""Found quickly, and perhaps in another place of the body: the body itself decides."""
_FIELDS = ("failures", "open_until", "probe_until", "seen_at", "checked_at", "error", "version")
_PUT = (
    "INSERT INTO agent_health (owner, agent_id, status, failures, open_until, probe_until, seen_at,"
    " checked_at, error, version, capabilities, updated_at) VALUES (:owner, :agent_id, :status,"
    " :failures, :open_until, :probe_until, :seen_at, :checked_at, :error, :version, :capabilities,"
    " :now) ON CONFLICT (owner, agent_id) DO UPDATE SET status = excluded.status,"
    " failures = excluded.failures, open_until = excluded.open_until,"
    " probe_until = excluded.probe_until, seen_at = excluded.seen_at,"
    " checked_at = excluded.checked_at, error = excluded.error, version = excluded.version,"
    " capabilities = excluded.capabilities, updated_at = excluded.updated_at"
)


class SqlAgentHealth:
    """Health on record. Source of every promise: the ports of `domain.agenthealth`."""

    def __init__(self, engine: Engine, clock: Clock, rules: HealthRules | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._rules = rules or HealthRules()

    async def health(
        self, which: Sequence[tuple[str | None, str]]
    ) -> Mapping[tuple[str | None, str], AgentHealth]:
        """Return how agents are."""
        wanted = {(SHARED if owner is None else owner, agent_id) for owner, agent_id in which}
        ids = encode_json(sorted({agent_id for _, agent_id in wanted}))

        def look(tx: Tx) -> dict[tuple[str | None, str], AgentHealth]:
            rows = tx.all(f"{_SELECT} WHERE{_IS_HTTP} AND {_among(tx)}", ids=ids)
            found = [row for row in rows if (row["agent_owner"], row["id"]) in wanted]
            return {
                (_owner_of(row), row["id"]): self._judge(row) for row in found if _endpoint(row)
            }

        return await self._engine.read(look) if wanted else {}

    async def unhealthy(self, owner: str) -> frozenset[str]:
        """Return the ids of the unhealthy agents that an owner sees."""

        def look(tx: Tx) -> frozenset[str]:
            # The owner's own take the place of the shared ones of the same id.
            rows = tx.all(
                f"{_SELECT} WHERE{_IS_HTTP} AND a.owner IN (:owner, '') AND (a.owner = :owner OR"
                " NOT EXISTS (SELECT 1 FROM agents AS mine WHERE mine.owner = :owner"
                " AND mine.agent_id = a.agent_id))",
                owner=owner,
            )
            found = (row for row in rows if _endpoint(row))
            return frozenset(
                row["id"] for row in found if self._judge(row).status is Health.UNHEALTHY
            )

        return await self._engine.read(look)

    async def beat(self, owner: str | None, agent_id: str, report: Report) -> AgentHealth:
        """Note what an agent says of itself."""

        def note(tx: Tx) -> AgentHealth:
            row = _exact(tx, owner, agent_id)
            if row is None or _endpoint(row) is None:
                raise NotFoundError(f"there is no external agent {agent_id}")
            now = self._clock.now_ms()
            record = _change(
                tx,
                row,
                now,
                lambda held, at: agenthealth.after_report(held, report, at, is_check=False),
            )
            return agenthealth.health_of(record, row["created_at"], now, self._rules)

        return await self._engine.write(note)

    async def admit(self, callee: Callee) -> None:
        """Say that a call begins."""
        row = await self._engine.look_up(lambda tx: _callee(tx, callee))
        if row is None or row["open_until"] is None:
            return  # most calls, which need no write

        def take(record: HealthRecord, now: int) -> HealthRecord:
            return agenthealth.admit(callee.agent_id, record, now, self._rules)

        await self._of_callee(callee, take)

    async def answered(self, callee: Callee) -> None:
        """Say that a call was answered."""
        row = await self._engine.look_up(lambda tx: _callee(tx, callee))
        if row is None:
            return

        def close(record: HealthRecord, now: int) -> HealthRecord:
            return agenthealth.after_answer(record, now, self._rules)

        held = _record(row)
        if close(held, self._clock.now_ms()) is not held:
            await self._of_callee(callee, close)

    async def failed(self, callee: Callee, error: str) -> None:
        """Say that a call failed by the agent's fault."""
        await self._of_callee(
            callee, lambda held, now: agenthealth.after_failure(held, error, now, self._rules)
        )

    async def released(self, callee: Callee) -> None:
        """Say that a call ended and says nothing of the agent."""
        row = await self._engine.look_up(lambda tx: _callee(tx, callee))
        if row is not None and row["probe_until"] is not None:
            await self._of_callee(callee, lambda held, _: agenthealth.after_release(held))

    async def targets(self) -> Sequence[CheckTarget]:
        """Return every active agent of kind `http`."""
        rows = await self._engine.read(
            lambda tx: tx.all(f"{_SELECT} WHERE{_IS_HTTP} ORDER BY a.agent_id, a.owner")
        )
        return [
            CheckTarget(_owner_of(row), row["id"], endpoint)
            for row in rows
            if (endpoint := _endpoint(row)) is not None and _body(row).get("status") == "active"
        ]

    async def checked(self, target: CheckTarget, report: Report) -> None:
        """Note what a check found."""

        def note(tx: Tx) -> None:
            row = _exact(tx, target.owner, target.agent_id)
            if row is None or _endpoint(row) != target.endpoint:
                return
            _change(
                tx,
                row,
                self._clock.now_ms(),
                lambda held, now: agenthealth.after_report(held, report, now, is_check=True),
            )

        await self._engine.write(note)

    async def _of_callee(self, callee: Callee, change: Change) -> None:
        def write(tx: Tx) -> None:
            _lock(tx, callee.agent_id)
            row = _callee(tx, callee)
            if row is not None:
                _change(tx, row, self._clock.now_ms(), change)

        await self._engine.write(write)

    def _judge(self, row: Row) -> AgentHealth:
        now = self._clock.now_ms()
        return agenthealth.health_of(_record(row), row["created_at"], now, self._rules)


def _lock(tx: Tx, agent_id: str) -> None:
    """Keep others from changing the health of an agent of this id until the end of the transaction.

    A statement of its own: what the next one reads is then what the last change left.
    """
    if tx.lock:
        tx.all(
            "SELECT 1 AS one FROM agents WHERE agent_id = :agent_id ORDER BY owner" + tx.lock,
            agent_id=agent_id,
        )


def _among(tx: Tx) -> str:
    """Return the condition that an agent's id is among `:ids`, a JSON list."""
    if tx.lock:
        return "a.agent_id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)))"
    return "a.agent_id IN (SELECT value FROM json_each(:ids))"


def _change(tx: Tx, row: Row, now: int, change: Change) -> HealthRecord:
    before = _record(row)
    after = change(before, now)
    if after is not before:
        _put(tx, row, after, now)
    return after


def _put(tx: Tx, row: Row, record: HealthRecord, now: int) -> None:
    tx.run(
        _PUT,
        owner=row["agent_owner"],
        agent_id=row["id"],
        status=record.said.value,
        capabilities=encode_json(list(record.capabilities)),
        now=now,
        **{name: getattr(record, name) for name in _FIELDS},
    )


def _exact(tx: Tx, owner: str | None, agent_id: str) -> Row | None:
    """Return one agent, for a change."""
    _lock(tx, agent_id)
    return tx.one(
        f"{_SELECT} WHERE a.owner = :owner AND a.agent_id = :agent_id",
        owner=SHARED if owner is None else owner,
        agent_id=agent_id,
    )


def _callee(tx: Tx, callee: Callee) -> Row | None:
    """Return the agent that a run calls, if it still lives where it is called."""
    row = tx.one(
        f"{_SELECT} WHERE a.agent_id = :agent_id AND a.owner IN (:owner, '')"
        " ORDER BY a.owner DESC LIMIT 1",
        agent_id=callee.agent_id,
        owner=callee.owner,
    )
    return row if row is not None and _endpoint(row) == callee.endpoint else None


def _body(row: Row) -> dict[str, object]:
    found: dict[str, object] = json.loads(row["body"])
    return found


def _endpoint(row: Row) -> str | None:
    """Return where an agent lives; None for one that is not of kind `http`."""
    body = _body(row)
    endpoint = body.get("endpoint")
    return endpoint if body.get("kind") == AgentKind.HTTP and isinstance(endpoint, str) else None


def _owner_of(row: Row) -> str | None:
    return None if row["agent_owner"] == SHARED else row["agent_owner"]


def _record(row: Row) -> HealthRecord:
    if row["status"] is None:
        return HealthRecord()  # no row of its own yet
    return HealthRecord(
        said=Health(row["status"]),
        capabilities=tuple(json.loads(row["capabilities"])),
        **{name: row[name] for name in _FIELDS},
    )
