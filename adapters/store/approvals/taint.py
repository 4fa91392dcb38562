"""Text of strangers: where it is put on record, and which calls it may have led to.

Strangers wrote what a tool made with `untrusted` returns, and all that an external agent says. Such
a message is marked in the transcript and stays marked for as long as a model can read it: in later
runs of the session, in its forks, in a parent that reads how its child ended. A child that is asked
for by whoever has read it begins with it.
"""

from adapters.store.database.tx import Row, Tx
from domain.agent import AgentKind
from domain.run import RunSpec
from domain.step import step_place
from domain.tool import ToolCallStatus

_HEARD = (
    "SELECT DISTINCT run_id, agent_id, role FROM messages WHERE owner = :owner"
    " AND session_id = :session_id AND untrusted = true AND seq IS NOT NULL"
)
_FETCHED = (
    "SELECT t.run_id, t.step_id FROM tool_calls t JOIN runs r ON r.run_id = t.run_id"
    " WHERE t.untrusted = true AND t.ended_at IS NOT NULL AND t.status <> 'rejected'"
    " AND (t.run_id IN (:run, :reader) OR (r.kind = 'tool' AND r.parent_run_id = :reader))"
)
"""Calls of a run, and by hand inside it, that brought text of strangers."""


def mark_call(tx: Tx, run: Row, call: Row) -> None:
    """Note that a call will return text of strangers, if its tool does."""
    if '"untrusted":true' not in run["spec"]:
        return  # most runs, which need not be parsed for it
    tools = RunSpec.model_validate_json(run["spec"]).tools
    if any(tool.untrusted for tool in tools if tool.name == call["tool_name"]):
        _mark(tx, call)


def mark_child_call(tx: Tx, call: Row, child: Row) -> Row:
    """Note that what a child ended with may be text of strangers; return the call as it is then."""
    if not _may_quote_strangers(tx, child):
        return call
    _mark(tx, call)
    return {**call, "untrusted": True}


def mark_child(tx: Tx, run: Row, call: Row, child_run_id: str) -> None:
    """Note of a new child that strangers may be behind it: whoever asks for it has read them."""
    if is_tainted(tx, run, call):
        _mark_run(tx, child_run_id)


def mark_asked(tx: Tx, run: Row, child_run_id: str) -> None:
    """Note of a child that a run asked for over the API that strangers may be behind it."""
    if is_external(run) or run["untrusted"]:
        _mark_run(tx, child_run_id)


def result_is_untrusted(call: Row, status: ToolCallStatus) -> bool:
    """Whether the result of a call is text of strangers; one that was not run brings none."""
    return bool(call["untrusted"]) and status is not ToolCallStatus.REJECTED


def is_external(run: Row) -> bool:
    """Whether an external agent does a run, so that a stranger says all that it says."""
    if '"agent_kind":"http"' not in run["spec"]:
        return False
    return RunSpec.model_validate_json(run["spec"]).agent_kind is AgentKind.HTTP


def is_tainted(tx: Tx, run: Row, call: Row, asking: Row | None = None) -> bool:
    """Whether text of strangers was there before this call was asked for.

    `asking` is the run whose agent wants the call, None for the call's own. What runs beside the
    call does not count: the model had not read that yet.
    """
    reader = run if asking is None else asking
    if run["untrusted"] or reader["untrusted"] or _has_heard(tx, run, reader):
        return True
    rows = tx.all(_FETCHED, run=run["run_id"], reader=reader["run_id"])
    turn = step_place(call["step_id"])[0]
    return any(
        row["run_id"] != run["run_id"] or step_place(row["step_id"])[0] < turn for row in rows
    )


def _mark(tx: Tx, call: Row) -> None:
    sql = "UPDATE tool_calls SET untrusted = true WHERE tool_call_id = :id"
    tx.run(sql, id=call["tool_call_id"])


def _mark_run(tx: Tx, run_id: str) -> None:
    tx.run("UPDATE runs SET untrusted = true WHERE run_id = :id", id=run_id)
    tx.run("UPDATE messages SET untrusted = true WHERE run_id = :id", id=run_id)


def _may_quote_strangers(tx: Tx, child: Row) -> bool:
    if child["untrusted"] or is_external(child):
        return True
    key = {"owner": child["owner"], "session_id": child["session_id"]}
    return tx.one(f"{_HEARD} LIMIT 1", **key) is not None


def _has_heard(tx: Tx, run: Row, reader: Row) -> bool:
    """Whether the conversation that led to a call holds text of strangers."""
    if reader["session_id"] is None:
        return False
    heard = tx.all(_HEARD, owner=reader["owner"], session_id=reader["session_id"])
    if not heard:
        return False
    if run["run_id"] == reader["run_id"]:
        # What its own calls brought is told apart by turns.
        return any(row["run_id"] != run["run_id"] or row["role"] == "user" for row in heard)
    return any(not _are_own_words(tx, reader, row) for row in heard)


def _are_own_words(tx: Tx, reader: Row, said: Row) -> bool:
    """Whether an external agent said it itself, without having read strangers by our tools."""
    if said["agent_id"] != reader["agent_id"] or not is_external(reader):
        return False
    earlier = tx.one("SELECT untrusted FROM runs WHERE run_id = :id", id=said["run_id"])
    if earlier is None or earlier["untrusted"]:
        return False
    return tx.one(f"{_FETCHED} LIMIT 1", run=said["run_id"], reader=said["run_id"]) is None
