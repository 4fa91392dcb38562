"""Dead letters as rows: put on the list with the end of a run, settled once."""

import json
from collections.abc import Sequence

from adapters.store.database.commits import Commits, CrashPoint, no_crash
from adapters.store.database.pages import newest_first, where
from adapters.store.database.tx import Engine, Row, Tx
from domain.acceptance import Page
from domain.deadletter import DeadLetter, DeadLetterStatus
from domain.errors import ConflictError, NotFoundError
from domain.ports import Clock
from domain.step import Finish

_INSERT = (
    "INSERT INTO dead_letters (dead_letter_id, owner, run_id, session_id, agent_id, code, reason,"
    " step_id, input, status, created_at) VALUES (:id, :owner, :run_id, :session_id, :agent_id,"
    " :code, :reason, :step_id, :input, 'waiting', :now) ON CONFLICT (run_id) DO NOTHING"
)
_SETTLE = (
    "UPDATE dead_letters SET status = :status, settled_by = :by, settled_at = :now, note = :note,"
    " redriven_as = :run WHERE dead_letter_id = :id AND status = 'waiting'"
)


def put(tx: Tx, run: Row, finish: Finish, now: int) -> None:
    """List a run that ends because one of its steps kept failing."""
    tx.run(
        _INSERT,
        id=f"dl_{run['run_id'].removeprefix('run_')}",
        owner=run["owner"],
        run_id=run["run_id"],
        session_id=run["session_id"],
        agent_id=run["agent_id"],
        code=finish.code or "internal_error",
        reason=finish.message,
        step_id=finish.dead_letter_step,
        input=run["input"],
        now=now,
    )


def redriven(tx: Tx, owner: str, dead_letter_id: str, by: str, run_id: str, now: int) -> None:
    """Settle a dead letter by the new run that is made of it.

    Raises:
        NotFoundError: no such dead letter for this owner.
        ConflictError: it is settled; says how.
    """
    letter = _read(tx, owner, dead_letter_id, lock=True)
    if letter["status"] != DeadLetterStatus.WAITING:
        raise ConflictError(_settled(letter))
    tx.run(_SETTLE, status="redriven", by=by, now=now, note=None, run=run_id, id=dead_letter_id)


def retried(tx: Tx, of_run_id: str, by: str, run_id: str, now: int) -> None:
    """Settle the dead letter of a run that is retried by its own id, if it has one."""
    letter = tx.one("SELECT dead_letter_id FROM dead_letters WHERE run_id = :id", id=of_run_id)
    if letter is not None:
        named = letter["dead_letter_id"]
        tx.run(_SETTLE, status="redriven", by=by, now=now, note=None, run=run_id, id=named)


def _discard(
    tx: Tx, owner: str | None, dead_letter_id: str, by: str, note: str | None, now: int
) -> Row:
    letter = _read(tx, owner, dead_letter_id, lock=True)
    if letter["status"] == DeadLetterStatus.REDRIVEN:
        raise ConflictError(_settled(letter))
    tx.run(_SETTLE, status="discarded", by=by, now=now, note=note, run=None, id=dead_letter_id)
    return _read(tx, owner, dead_letter_id)


def _settled(letter: Row) -> str:
    how = letter["status"]
    if letter["redriven_as"] is not None:
        how = f"re-driven as run {letter['redriven_as']}"
    return f"dead letter {letter['dead_letter_id']} was {how} by {letter['settled_by']}"


def _read(tx: Tx, owner: str | None, dead_letter_id: str, *, lock: bool = False) -> Row:
    clause, params = where({"dead_letter_id": dead_letter_id, "owner": owner})
    row = tx.one(f"SELECT * FROM dead_letters{clause}{tx.lock if lock else ''}", **params)
    if row is None:
        raise NotFoundError(f"there is no dead letter {dead_letter_id}")
    return row


def _letter_from(row: Row) -> DeadLetter:
    plain = {name: row[name] for name in DeadLetter.model_fields if name != "input"}
    return DeadLetter.model_validate(plain | {"input": json.loads(row["input"])})


class SqlDeadLetters:
    """Dead letters on record. Source of every promise: `domain.deadletter.DeadLetterBook`."""

    def __init__(self, engine: Engine, clock: Clock, crash: CrashPoint = no_crash) -> None:
        self._engine = engine
        self._clock = clock
        self._commit = Commits(engine, crash)

    async def get_letter(self, owner: str | None, dead_letter_id: str) -> DeadLetter:
        """Return one dead letter."""
        return _letter_from(await self._engine.read(lambda tx: _read(tx, owner, dead_letter_id)))

    async def list_letters(
        self, owner: str | None, status: str | None, page: Page
    ) -> tuple[Sequence[DeadLetter], str | None]:
        """Return dead letters, newest first, and the next cursor."""
        conditions: dict[str, object] = {"owner": owner, "status": status}
        rows, cursor = await self._engine.read(
            lambda tx: newest_first(tx, "dead_letters", conditions, page, "dead_letter_id")
        )
        return [_letter_from(row) for row in rows], cursor

    async def discard(
        self, owner: str | None, dead_letter_id: str, by: str, note: str | None
    ) -> DeadLetter:
        """Put on record that nothing will be done about it."""
        now = self._clock.now_ms()
        row = await self._commit(
            "discard", lambda tx: _discard(tx, owner, dead_letter_id, by, note, now)
        )
        return _letter_from(row)
