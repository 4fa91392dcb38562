"""The `ApprovalBook` over a database: each method is one transaction."""

from collections.abc import Mapping, Sequence

from adapters.store.approvals import approvals, deciding
from adapters.store.database.commits import Commits, CrashPoint, no_crash
from adapters.store.database.pages import newest_first
from adapters.store.database.tx import Engine, Row, Tx
from adapters.store.spending import asking
from domain.acceptance import IdempotencyKey, Page
from domain.approval import Answer, Approval, ApprovalStatus, Remember, Risk
from domain.deciding import ApprovalFilter
from domain.policy import OnTimeout
from domain.ports import Clock


class SqlApprovalBook:
    """Approvals on record. Source of every promise: `domain.deciding.ApprovalBook`."""

    def __init__(self, engine: Engine, clock: Clock, crash: CrashPoint = no_crash) -> None:
        self._engine = engine
        self._clock = clock
        self._commit = Commits(engine, crash)

    async def get_approval(self, owner: str | None, approval_id: str) -> Approval:
        """Return one approval."""
        row = await self._engine.read(lambda tx: approvals.read(tx, owner, approval_id))
        return approval_from(row)

    async def list_approvals(
        self, owner: str | None, which: ApprovalFilter, page: Page
    ) -> tuple[Sequence[Approval], str | None]:
        """Return approvals, newest first, and the next cursor."""
        conditions: dict[str, object] = {
            "owner": owner,
            "status": which.status,
            "run_id": which.run_id,
        }
        rows, cursor = await self._engine.read(
            lambda tx: newest_first(tx, "approvals", conditions, page, "approval_id")
        )
        return [approval_from(row) for row in rows], cursor

    async def pending(self, owner: str | None) -> Mapping[str, int]:
        """Return the revision of every pending approval by its id, oldest first."""
        return await self._engine.read(lambda tx: _pending(tx, owner))

    async def recent(self, owner: str | None, within_ms: int) -> Mapping[str, int]:
        """Return the revision of every approval asked for lately, whatever became of it."""
        since = self._clock.now_ms() - within_ms
        return await self._engine.read(lambda tx: _recent(tx, owner, since))

    async def decide(self, owner: str | None, approval_id: str, said: Answer) -> Approval:
        """Put an answer on record."""
        now = self._clock.now_ms()
        row = await self._commit(
            "decide", lambda tx: deciding.decide(tx, owner, approval_id, said, now)
        )
        return approval_from(row)

    async def decide_once(
        self, owner: str, approval_id: str, said: Answer, key: IdempotencyKey
    ) -> tuple[Approval, bool]:
        """Put an answer on record, or find the one of the same request."""
        now = self._clock.now_ms()
        row, replayed = await self._commit(
            "decide", lambda tx: deciding.decide_once(tx, owner, approval_id, said, key, now)
        )
        return approval_from(row), replayed

    async def waiting_on(self, budget_id: str) -> Sequence[str]:
        """Return the runs that wait until a person says something about a budget."""
        return await self._engine.read(lambda tx: asking.waiting_on(tx, budget_id))

    async def outdated(self) -> Sequence[str]:
        """Return the pending approvals that the policy of now has not ruled on."""
        return await self._engine.read(deciding.outdated)

    async def revisit(self, approval_id: str) -> Approval | None:
        """Rule again on a pending approval."""
        now = self._clock.now_ms()
        row = await self._commit("revisit", lambda tx: deciding.revisit(tx, approval_id, now))
        return approval_from(row) if row else None


def _pending(tx: Tx, owner: str | None) -> dict[str, int]:
    return _revisions(tx, owner, "status = 'pending'")


def _recent(tx: Tx, owner: str | None, since: int) -> dict[str, int]:
    return _revisions(tx, owner, "created_at >= :since", since=since)


def _revisions(tx: Tx, owner: str | None, which: str, **params: object) -> dict[str, int]:
    mine = "" if owner is None else " AND owner = :owner"
    rows = tx.all(
        f"SELECT approval_id, revision FROM approvals WHERE {which}{mine}"
        " ORDER BY created_at, approval_id",
        **(params if owner is None else params | {"owner": owner}),
    )
    return {row["approval_id"]: row["revision"] for row in rows}


def approval_from(row: Row) -> Approval:
    """Return a row of `approvals` as a value."""
    typed = {
        "risk": Risk(row["risk"]),
        "on_timeout": OnTimeout(row["on_timeout"]),
        "status": ApprovalStatus(row["status"]),
        "remember": Remember(row["remember"]),
    }
    plain = {name: row[name] for name in Approval.model_fields if name not in typed}
    return Approval.model_validate(plain | typed)
