"""Writing a fork: its branch of the conversation, the steps it need not take, its first events."""

import json
from typing import Any

from adapters.store.database.tx import Row, Tx
from adapters.store.forks.forking import Kept, is_answer
from adapters.store.sessions import transcript
from domain.acceptance import NewRun
from domain.errors import ForkRefusedError
from domain.event import EventDraft, EventType, as_json, encode_json
from domain.run import RunKind, RunSpec, RunUsage
from domain.session import estimate_tokens
from domain.step import NewMessage, llm_step, step_place

_COPY_MESSAGES = (
    "INSERT INTO messages (message_id, owner, session_id, run_id, seq, role, content, tool_calls,"
    " tool_call_id, agent_id, tokens, untrusted, created_at)"
    " SELECT CAST(:prefix AS TEXT) || CAST(row_number() OVER (ORDER BY seq) AS TEXT), owner,"
    " CAST(:branch AS TEXT), CASE WHEN run_id = :mine THEN :run_id ELSE run_id END,"
    " row_number() OVER (ORDER BY seq), role, content, tool_calls, tool_call_id, agent_id, tokens,"
    " untrusted, created_at FROM messages"
    " WHERE owner = :owner AND session_id = :session_id AND seq < :before"
)
_COPY_STEP = (
    "INSERT INTO steps (run_id, step_id, state, attempt, temporal_run_id, scheduled_at_us,"
    " task_token, worker_id, opened_at, closed_at, model, result) SELECT :run_id, :step_id,"
    " 'closed', attempt, '', 0, task_token, '', opened_at, closed_at, model, :result FROM steps"
    " WHERE run_id = :original AND step_id = :old_step"
)
_COPY_CALL = (
    "INSERT INTO tool_calls (tool_call_id, owner, run_id, step_id, tool_name, args, status, effect,"
    " provider_call_id, idempotency_key, result, error, resolution, resolved_by, woken_at,"
    " created_at, ended_at, untrusted) SELECT :new_id, owner, :run_id, step_id, tool_name, args,"
    " status, effect, provider_call_id, idempotency_key, result, error, resolution, resolved_by,"
    " CAST(:now AS BIGINT), created_at, ended_at, untrusted FROM tool_calls"
    " WHERE tool_call_id = :old_id"
)
_AGAIN = (
    "UPDATE tool_calls SET status = 'created', result = NULL, error = NULL, resolution = NULL,"
    " resolved_by = NULL, woken_at = NULL, created_at = :now, ended_at = NULL"
    " WHERE tool_call_id = :id"
)
_COUNT_STEERS = (
    "UPDATE runs SET steers = (SELECT count(*) FROM messages WHERE run_id = :id AND role = 'user'"
    " AND message_id <> (SELECT message_id FROM messages WHERE run_id = :id AND role = 'user'"
    " ORDER BY seq LIMIT 1)) WHERE run_id = :id"
)
"""What was said to the first run on its way was said to the fork too."""
_NOT_OPENED = 2**62
"""A place in the transcript that is never given out."""


def copy(tx: Tx, run: Row, kept: Kept, new: NewRun, now: int) -> list[EventDraft]:
    """Write everything a fork begins with and return its first events.

    Raises:
        ForkRefusedError: the conversation is no longer there.
    """
    message_id = _copy_conversation(tx, run, kept, new, now)
    _copy_steps(tx, run, kept, new)
    again = _copy_calls(tx, run, kept, new, now)
    output = None
    if kept.is_answered and new.fork is not None and not new.fork.says_more:
        # The answer is there; what failed came after it.
        output = kept.run["output"]
        tx.run("UPDATE runs SET output = :out WHERE run_id = :id", out=output, id=run["run_id"])
    data = {
        "run_id": kept.run["run_id"],
        "turn": kept.turn,
        "kept_calls": len(kept.calls) - len(kept.again),
        "session_id": kept.run["session_id"],
        "output": json.loads(output) if output else None,
    }
    drafts = [EventDraft(type=EventType.RUN_FORKED, key="forked", data=data)]
    if message_id is not None:
        said = {"role": "user", "content": new.content, "message_id": message_id}
        drafts.append(EventDraft(type=EventType.USER_INPUT, key="user_input", data=said))
    return drafts + again


def _copy_conversation(tx: Tx, run: Row, kept: Kept, new: NewRun, now: int) -> str | None:
    """Write the branch and return the id of the message that the new run answers."""
    if run["kind"] == RunKind.TOOL or new.fork is None:
        return None
    says_more = new.fork.says_more
    before, has_own = _end_of_kept(tx, kept, without_question=says_more and kept.turn == 0)
    skipped = {f"skip{n}": call["provider_call_id"] for n, call in enumerate(kept.again)}
    only = ""
    if skipped:
        marks = ", ".join(f":{name}" for name in skipped)
        only = f" AND NOT (role = 'tool' AND tool_call_id IN ({marks}))"
    tx.run(
        _COPY_MESSAGES + only,
        prefix=f"msg_{run['run_id'].removeprefix('run_')}_",
        branch=run["session_id"],
        # What was said before stays what the earlier run said.
        mine="" if says_more else kept.run["run_id"],
        run_id=run["run_id"],
        owner=run["owner"],
        session_id=kept.run["session_id"],
        before=before,
        **skipped,
    )
    _correct_results(tx, run, kept)
    _count(tx, run, kept)
    tx.run(_COUNT_STEERS, id=run["run_id"])
    tx.run("UPDATE runs SET steers_seen = steers WHERE run_id = :id", id=run["run_id"])
    if says_more or not has_own:
        tokens = estimate_tokens(new.content)
        message = NewMessage(new.message_id, "user", new.content, tokens=tokens)
        # What a tainted run was asked is asked again; what a person says now is not.
        is_tainted = not says_more and bool(kept.run["untrusted"])
        transcript.extend(tx, run, (message,), now, untrusted=is_tainted)
        return new.message_id
    asked = tx.one(
        "SELECT message_id FROM messages WHERE run_id = :id AND role = 'user' ORDER BY seq LIMIT 1",
        id=run["run_id"],
    )
    return asked["message_id"] if asked else None


def _end_of_kept(tx: Tx, kept: Kept, *, without_question: bool) -> tuple[int, bool]:
    """Return the place before which all is kept, and whether the question has a place there.

    Raises:
        ForkRefusedError: the transcript was cleared, or its session deleted.
    """
    rows = tx.all(
        "SELECT seq, role FROM messages WHERE owner = :owner AND session_id = :session_id"
        " AND run_id = :run ORDER BY seq",
        owner=kept.run["owner"],
        session_id=kept.run["session_id"],
        run=kept.run["run_id"],
    )
    if not rows:
        raise ForkRefusedError(
            f"the conversation of run {kept.run['run_id']} is gone: session"
            f" {kept.run['session_id']} was cleared or deleted"
        )
    placed = [row for row in rows if row["seq"] is not None]
    if not placed:
        return _end_of_others(tx, kept), False
    if without_question:
        return placed[0]["seq"], False
    replies = [row["seq"] for row in placed if row["role"] == "assistant"]
    return (replies[kept.turn] if len(replies) > kept.turn else placed[-1]["seq"] + 1), True


def _end_of_others(tx: Tx, kept: Kept) -> int:
    """Return the place up to which a run that never had its session may read.

    What its present holder says is not finished: calls in it may have no answer yet.
    """
    row = tx.one(
        "SELECT min(m.seq) AS first FROM messages m JOIN sessions s ON s.owner = m.owner"
        " AND s.session_id = m.session_id AND s.active_run_id = m.run_id"
        " WHERE m.owner = :owner AND m.session_id = :session_id",
        owner=kept.run["owner"],
        session_id=kept.run["session_id"],
    )
    return _NOT_OPENED if row is None or row["first"] is None else int(row["first"])


def _correct_results(tx: Tx, run: Row, kept: Kept) -> None:
    """Have the model read what a person said of an unknown outcome after the run had ended."""
    for call in kept.calls:
        if call["resolution"] is None or call in kept.again:
            continue
        said = call["result"]
        if said is None:
            said = json.loads(call["error"])["message"] if call["error"] else ""
        tx.run(
            "UPDATE messages SET content = :said WHERE owner = :owner AND session_id = :session_id"
            " AND role = 'tool' AND tool_call_id = :id",
            said=said,
            owner=run["owner"],
            session_id=run["session_id"],
            id=call["provider_call_id"],
        )


def _count(tx: Tx, run: Row, kept: Kept) -> None:
    key = {"owner": run["owner"], "session_id": run["session_id"]}
    where = " WHERE owner = :owner AND session_id = :session_id"
    found = tx.one(
        f"SELECT count(*) AS n, coalesce(sum(tokens), 0) AS tokens FROM messages{where}", **key
    )
    held = tx.one(
        f"SELECT agent_id FROM sessions{where}",
        owner=run["owner"],
        session_id=kept.run["session_id"],
    )
    count = int(found["n"]) if found else 0
    tx.run(
        "UPDATE sessions SET message_count = :n, last_message_seq = :n, token_count = :tokens,"
        f" agent_id = :agent_id{where}",
        n=count,
        tokens=int(found["tokens"]) if found else 0,
        agent_id=held["agent_id"] if held else None,
        **key,
    )


def _copy_steps(tx: Tx, run: Row, kept: Kept, new: NewRun) -> None:
    """Copy what is committed: the new run's workflow finds it and neither asks nor calls."""
    says_more = new.fork is not None and new.fork.says_more
    for place, reply in enumerate(kept.replies, start=1):
        # An answer in the middle was not the end: the run was steered after it.
        more = place < kept.turn or says_more or kept.is_steered
        goes_on = more and is_answer(reply)
        _copy_step(tx, run, reply, _step_id(reply), _reply_of(reply, goes_on))
    again = {call["step_id"] for call in kept.again}
    for call in kept.calls:
        step = kept.closed.get(call["step_id"])
        if step is not None and call["step_id"] not in again:
            _copy_step(tx, run, step, step["step_id"], step["result"])


def _step_id(reply: Row) -> str:
    """Return where a reply is looked for: at the first model of the chain, whichever gave it."""
    step_id: str = reply["step_id"]
    return llm_step(step_place(step_id)[0], 1) if step_id.startswith("llm-") else step_id


def _reply_of(reply: Row, goes_on: bool) -> str:
    """Return a stored reply for another run: what it cost was paid by the first one."""
    result: dict[str, Any] = json.loads(reply["result"])
    result |= {"usage": RunUsage().model_dump(mode="json"), "cut_by": None, "goes_on": goes_on}
    return encode_json(result)


def _copy_step(tx: Tx, run: Row, step: Row, step_id: str, result: str) -> None:
    tx.run(
        _COPY_STEP,
        run_id=run["run_id"],
        step_id=step_id,
        result=result,
        original=step["run_id"],
        old_step=step["step_id"],
    )


def _copy_calls(tx: Tx, run: Row, kept: Kept, new: NewRun, now: int) -> list[EventDraft]:
    """Copy the calls; return `tool_call_created` of those that the new run makes again."""
    drafts = []
    suffix = run["run_id"].removeprefix("run_")
    for place, call in enumerate(kept.calls):
        new_id = new.tool_call_id or f"tc_{suffix}_{place}"
        tx.run(
            _COPY_CALL,
            new_id=new_id,
            run_id=run["run_id"],
            now=now,
            old_id=call["tool_call_id"],
        )
        if call in kept.again:
            tx.run(_AGAIN, now=now, id=new_id)
            drafts.append(_created(call, new_id, new.spec))
    return drafts


def _created(call: Row, new_id: str, spec: RunSpec) -> EventDraft:
    by_client = any(tool.client for tool in spec.tools if tool.name == call["tool_name"])
    data = {
        "tool_call_id": new_id,
        "tool_name": call["tool_name"],
        "args": as_json(call["args"]),
        "kind": "client" if by_client else "server",
        "step": call["step_id"],
    }
    return EventDraft(type=EventType.TOOL_CALL_CREATED, key=f"{new_id}:created", data=data)
