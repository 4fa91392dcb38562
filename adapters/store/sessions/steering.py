"""Messages for a run that is on its way: seen before its next model call, and never left unseen.

Such a message waits without a place in the transcript, because a place in the middle of a turn
would part a model's tool calls from their results.
"""

import json

from adapters.store.database.rows import run_from, usage_from
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.runs import keys
from adapters.store.sessions import transcript
from adapters.store.steps.fence import lock_run
from domain.acceptance import Accepted, NewRun
from domain.errors import LimitReachedError
from domain.event import EventDraft, EventType
from domain.run import RunSpec, check_caps
from domain.session import estimate_tokens
from domain.step import NewMessage, invoke_step, llm_step

_UNPLACED = (
    "SELECT message_id, tokens FROM messages WHERE {} AND seq IS NULL AND arrival IS NOT NULL"
)


def steer(tx: Tx, new: NewRun, run_id: str, arrival: int, now: int) -> Accepted:
    """Give a message to the run that holds its session, whose row is returned."""
    run = lock_run(tx, run_id)
    message = NewMessage(
        new.message_id, "user", new.content, tokens=estimate_tokens(new.content), arrival=arrival
    )
    transcript.add_message(tx, run, message, None, now)
    data = {"role": "user", "content": new.content, "message_id": new.message_id, "steers": True}
    draft = EventDraft(type=EventType.USER_INPUT, key=f"user_input:{new.message_id}", data=data)
    last = append(tx, run, [draft], now, run["last_seq"])
    tx.run(
        "UPDATE runs SET last_seq = :last, steers = steers + 1 WHERE run_id = :id",
        last=last,
        id=run_id,
    )
    if new.idempotency is not None:
        keys.change(tx, new.owner, new.idempotency, run_id)
    spec = RunSpec.model_validate_json(run["spec"])
    fresh = run_from(run).model_copy(update={"last_seq": last})
    return Accepted(run=fresh, queued=False, replayed=False, spec=spec, steered_seq=last)


def place_unseen(tx: Tx, run: Row) -> None:
    """Put what steers a run at the end of its transcript: its model is about to be asked."""
    if run["steers"] > run["steers_seen"]:
        _place(tx, run, "run_id = :run_id", run_id=run["run_id"])
        tx.run("UPDATE runs SET steers_seen = steers WHERE run_id = :id", id=run["run_id"])


def place_left_behind(tx: Tx, run: Row) -> None:
    """Put what no run of the session came to see into the transcript, in the order it came."""
    key = {"owner": run["owner"], "session_id": run["session_id"]}
    _place(tx, run, "owner = :owner AND session_id = :session_id", **key)


def _place(tx: Tx, run: Row, which: str, **params: object) -> None:
    for message in tx.all(f"{_UNPLACED.format(which)} ORDER BY arrival", **params):
        seq = transcript.take_place(tx, run["owner"], run["session_id"], message["tokens"])
        tx.run(
            "UPDATE messages SET seq = :seq WHERE message_id = :id",
            seq=seq,
            id=message["message_id"],
        )


def goes_on(tx: Tx, run: Row, turn: int, now: int) -> bool:
    """Whether a run that did its `turn` still owes an answer to something that steered it.

    A later turn that has begun counts too: after a reset the workflow passes this point again. A
    run whose caps leave no other turn is done: its answer stands, and the next run of the session
    reads what came after it.
    """
    if run["steers"] > run["steers_seen"]:
        return _may_ask_again(run, turn, now)
    if not run["steers"]:
        return False
    later = tx.one(
        "SELECT 1 AS yes FROM steps WHERE run_id = :id AND step_id IN (:llm, :invoke)",
        id=run["run_id"],
        llm=llm_step(turn + 1, 1),
        invoke=invoke_step(turn + 1),
    )
    return later is not None


def _may_ask_again(run: Row, turn: int, now: int) -> bool:
    usage = usage_from(run).model_copy(update={"turns": turn})
    elapsed = (now - (run["started_at"] or now)) / 1000
    try:
        check_caps(RunSpec.model_validate_json(run["spec"]).limits, usage, elapsed)
    except LimitReachedError:
        return False
    return True


def content_for(tx: Tx, run: Row, step_id: str) -> str:
    """Return what an external agent is asked: the run's input, later what steered it last."""
    said = None
    if step_id.startswith("invoke-") and step_id != invoke_step(1):
        said = tx.one(
            "SELECT content FROM messages WHERE run_id = :id AND role = 'user' AND seq IS NOT NULL"
            " ORDER BY seq DESC LIMIT 1",
            id=run["run_id"],
        )
    return str(said["content"] if said else json.loads(run["input"])["content"])
