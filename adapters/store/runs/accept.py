"""Accepting a run: row, session claim, message and first events in one transaction."""

from adapters.store.database.rows import run_from
from adapters.store.database.tx import Row, Tx
from adapters.store.forks import branching, deadletters, forking
from adapters.store.forks.forking import Kept
from adapters.store.learning import choices
from adapters.store.log.appender import append
from adapters.store.money.admission import admit
from adapters.store.runs import keys
from adapters.store.sessions import transcript
from adapters.store.sessions.claims import claim_session
from adapters.store.sessions.steering import steer
from domain.acceptance import Accepted, NewRun
from domain.errors import (
    InvalidRequestError,
    NotFoundError,
    QueueFullError,
    RunTerminalError,
)
from domain.event import EventDraft, EventType, as_json, encode_json
from domain.run import TERMINAL, RunKind, RunSpec
from domain.session import estimate_tokens
from domain.step import NewMessage, tool_step

_INSERT_RUN = (
    "INSERT INTO runs (run_id, owner, session_id, agent_id, kind, state, spec, input, goal_id,"
    " priority, parent_run_id, parent_step, root_run_id, depth, metadata, created_at, queue_seq,"
    " forked_from, forked_turn, start_at, deadline_at, key_id)"
    " VALUES (:run_id, :owner, :session_id, :agent_id, :kind, 'CREATED', :spec, :input, :goal_id,"
    " :priority, :parent_run_id, :parent_step, :root_run_id, :depth, :metadata, :now, :queue_seq,"
    " :forked_from, :forked_turn, :start_at, :deadline_at, :key_id)"
)
INSERT_TOOL_CALL = (
    "INSERT INTO tool_calls (tool_call_id, owner, run_id, step_id, tool_name, args, status, effect,"
    " provider_call_id, idempotency_key, created_at) VALUES (:tool_call_id, :owner, :run_id,"
    " :step_id, :tool_name, :args, 'created', :effect, :provider_call_id, :idempotency_key, :now)"
)


def accept(tx: Tx, new: NewRun, now: int) -> Accepted:
    """Make the run durable, or return the one that the same idempotency key made before.

    Raises:
        IdempotencyKeyConflictError: the key was used with another body.
        QueueFullError: too many runs are open.
        SessionBusyError: the session is held and the caller chose `reject`.
        NotFoundError, RunTerminalError: the parent run or goal is not there, or the run has ended.
        ForkRefusedError, OutcomeUnknownError: the run to fork does not allow it.
        ConflictError: the dead letter to re-drive is settled, or the goal takes no new runs.
        LimitReachedError: a limit of the goal is reached.
        InvalidRequestError: the deadline is over, or comes before the start.
    """
    earlier = _claim_key(tx, new, now)
    if earlier is not None:
        return earlier
    _check_times(new, now)
    claim = claim_session(tx, new, now)
    if claim.steers is not None and claim.arrival is not None:
        return steer(tx, new, claim.steers, claim.arrival, now)
    _check_room(tx, new.max_open_runs)
    kept = _kept_of(tx, new, now)
    parent = _open_parent(tx, new)
    goal_id = admit(tx, new, parent, now)
    tx.run(
        _INSERT_RUN,
        run_id=new.run_id,
        owner=new.owner,
        session_id=new.session_id,
        agent_id=new.agent_id,
        kind=new.kind.value,
        spec=new.spec.model_dump_json(),
        input=encode_json({"role": "user", "content": new.content}),
        goal_id=goal_id,
        priority=new.priority,
        parent_run_id=new.parent_run_id,
        parent_step=new.parent_step,
        root_run_id=parent["root_run_id"] if parent else new.run_id,
        depth=parent["depth"] + 1 if parent else 0,
        metadata=encode_json(new.metadata or {}),
        now=now,
        queue_seq=claim.arrival,
        forked_from=kept.run["run_id"] if kept else None,
        forked_turn=kept.turn if kept else None,
        start_at=new.start_at,
        deadline_at=new.deadline_at,
        key_id=parent["key_id"] if parent else new.key_id,
    )
    run = _row(tx, new.run_id)
    if kept is None:
        _add_input(tx, new, run, now)
        drafts = _first_events(new)
    else:
        drafts = branching.copy(tx, run, kept, new, now)
    last = append(tx, run, drafts, now, 0)
    choices.put(tx, new, now)
    tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=new.run_id)
    fresh = run_from(run).model_copy(update={"last_seq": last})
    return Accepted(
        run=fresh,
        queued=claim.arrival is not None,
        replayed=False,
        spec=new.spec,
        stopped=claim.stopped,
    )


def _kept_of(tx: Tx, new: NewRun, now: int) -> Kept | None:
    """Return what a fork keeps; a dead letter is settled with it."""
    if new.fork is None:
        return None
    kept = forking.choose(tx, new.fork, new.owner)
    letter, by = new.fork.dead_letter_id, new.fork.by
    if letter is not None:
        deadletters.redriven(tx, new.owner, letter, by, new.run_id, now)
    elif new.fork.from_turn is None:
        deadletters.retried(tx, new.fork.run_id, by, new.run_id, now)
    return kept


def _row(tx: Tx, run_id: str) -> Row:
    row = tx.one("SELECT * FROM runs WHERE run_id = :id", id=run_id)
    if row is None:
        raise NotFoundError(f"there is no run {run_id}")
    return row


def _claim_key(tx: Tx, new: NewRun, now: int) -> Accepted | None:
    if new.idempotency is None:
        return None
    run_id = keys.claim(tx, new.owner, new.idempotency, new.run_id, now)
    return None if run_id is None else _replayed(tx, run_id)


def known(tx: Tx, new: NewRun) -> Accepted | None:
    """Return the run that the idempotency key of a new one made before, if it did.

    Raises:
        IdempotencyKeyConflictError: the key was used with another body.
    """
    run_id = None if new.idempotency is None else keys.find(tx, new.owner, new.idempotency)
    return None if run_id is None else _replayed(tx, run_id)


def _replayed(tx: Tx, run_id: str) -> Accepted:
    row = _row(tx, run_id)
    spec = RunSpec.model_validate_json(row["spec"])
    queued = row["queue_seq"] is not None
    return Accepted(run=run_from(row), queued=queued, replayed=True, spec=spec)


def _check_times(new: NewRun, now: int) -> None:
    # Here, and not sooner: a repeated request still finds its run after the deadline.
    if new.deadline_at is not None and new.deadline_at <= max(now, new.start_at or 0):
        when = "is over" if new.deadline_at <= now else "comes before the run's start"
        raise InvalidRequestError(f"the deadline {when}", field="deadline")


def _check_room(tx: Tx, max_open_runs: int) -> None:
    row = tx.one("SELECT count(*) AS n FROM runs WHERE state IN ('CREATED', 'RUNNING')")
    if row is not None and row["n"] >= max_open_runs:
        raise QueueFullError(f"{row['n']} runs are open, which is the most taken; try again later")


def _open_parent(tx: Tx, new: NewRun) -> Row | None:
    if new.parent_run_id is None:
        return None
    parent = tx.one(
        "SELECT run_id, root_run_id, depth, state, cancel_asked_at, goal_id, key_id FROM runs"
        f" WHERE run_id = :id AND owner = :owner{tx.lock}",
        id=new.parent_run_id,
        owner=new.owner,
    )
    if parent is None:
        raise NotFoundError(f"there is no run {new.parent_run_id}")
    if parent["state"] in TERMINAL:
        raise RunTerminalError(f"run {new.parent_run_id} is {parent['state']}; start a new one")
    if parent["cancel_asked_at"] is not None:
        raise RunTerminalError(f"run {new.parent_run_id} is being cancelled; start a new one")
    return parent


def _add_input(tx: Tx, new: NewRun, run: Row, now: int) -> None:
    if new.kind is RunKind.TOOL:
        tool = new.spec.tools[0]
        call_id = new.tool_call_id or ""
        tx.run(
            INSERT_TOOL_CALL,
            tool_call_id=call_id,
            owner=new.owner,
            run_id=new.run_id,
            step_id=tool_step(1, 0),
            tool_name=tool.name,
            args=new.args,
            effect=tool.effect.value,
            provider_call_id=call_id,
            idempotency_key=f"{new.run_id}:{call_id}",
            now=now,
        )
        return
    tokens = estimate_tokens(new.content)
    message = NewMessage(new.message_id, "user", new.content, tokens=tokens)
    if run["queue_seq"] is None and new.start_at is None:
        transcript.extend(tx, run, (message,), now)
    else:
        transcript.add_message(tx, run, message, None, now)


def _first_events(new: NewRun) -> list[EventDraft]:
    if new.kind is RunKind.TOOL:
        data = {
            "tool_call_id": new.tool_call_id,
            "tool_name": new.spec.tools[0].name,
            "args": as_json(new.args),
            "kind": "client" if new.spec.tools[0].client else "server",
            "step": tool_step(1, 0),
        }
        key = f"{new.tool_call_id}:created"
        return [EventDraft(type=EventType.TOOL_CALL_CREATED, key=key, data=data)]
    data = {"role": "user", "content": new.content, "message_id": new.message_id}
    drafts = [EventDraft(type=EventType.USER_INPUT, key="user_input", data=data)]
    if new.route is not None:
        drafts.append(EventDraft(type=EventType.ROUTE_DECIDED, key="route", data=new.route))
    if new.tier_route is not None:
        data = new.tier_route
        drafts.append(EventDraft(type=EventType.ROUTE_DECIDED, key="route-tier", data=data))
    return drafts
