"""Requests handed out and answered: each a compare-and-set under the run's lock."""

import hmac
import json

from adapters.store.approvals import toolcalls
from adapters.store.clients import hosts, requests, ruling_again
from adapters.store.database.pages import where
from adapters.store.database.tx import Row, Tx
from adapters.store.runs.reads import get_tool_call
from adapters.store.steps.fence import lock_run, lock_session_and_run
from domain.clients import (
    UNKNOWN_CODE,
    Beat,
    Claim,
    Dispatch,
    RequestStatus,
    Submission,
    Submitted,
    ToolRequest,
    digest_of_result,
    digest_of_token,
)
from domain.errors import (
    DispatchRefusedError,
    DispatchSupersededError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    RequestExpiredError,
    RequestTakenError,
    RunTerminalError,
    ToolCallSettledError,
)
from domain.event import encode_json
from domain.jsonschema import problems
from domain.run import TERMINAL
from domain.tool import Audience, Effect, Offline, ToolCallStatus

_COLUMNS = (
    "SELECT q.*, c.args, c.effect, c.idempotency_key, c.status AS call_status FROM tool_requests q"
    " JOIN tool_calls c ON c.tool_call_id = q.tool_call_id"
)
_MOST = 100


def read(tx: Tx, owner: str | None, tool_call_id: str) -> Row:
    """Return a request's row with its call's arguments.

    Raises:
        NotFoundError: no such request for this owner.
    """
    clause, params = where({"tool_call_id": tool_call_id, "owner": owner})
    clause = clause.replace("tool_call_id =", "q.tool_call_id =").replace("owner =", "q.owner =")
    row = tx.one(f"{_COLUMNS}{clause}", **params)
    if row is None:
        raise NotFoundError(f"no client is asked to run a tool call {tool_call_id}")
    return row


def waiting(tx: Tx, who: Claim, now: int) -> list[ToolRequest]:
    """Return what a host could take now, and what the same claim took before, oldest first."""
    host = hosts.speaks_for(tx, who)
    names = {f"name{place}": tool.name for place, tool in enumerate(host.tools)}
    any_of = ", ".join(f":{name}" for name in names) or "NULL"
    rows = tx.all(
        f"{_COLUMNS} JOIN runs r ON r.run_id = q.run_id WHERE q.owner = :owner AND q.status IN"
        f" {requests.OPEN} AND r.cancel_asked_at IS NULL AND q.expires_at > :now"
        f" AND (q.host_id = :host OR (q.audience = 'hosts' AND q.tool_name IN ({any_of})))"
        " AND (q.status = 'waiting' OR q.claim_key = :key"
        " OR (q.lease_until <= :now AND c.effect <> 'unsafe'))"
        f" ORDER BY q.created_at, q.tool_call_id LIMIT {_MOST}",
        owner=who.owner,
        host=host.host_id,
        now=now,
        key=_claim_key(who),
        **names,
    )
    return [request_from(row) for row in rows]


def claim(tx: Tx, who: Claim, tool_call_id: str, token: str, now: int) -> Dispatch:
    """Hand a request out. The same claim again gets a token of its own for the same dispatch.

    Raises:
        NotFoundError, ForbiddenError: no such request, or not for this caller.
        RequestTakenError, RequestExpiredError, ToolCallSettledError, RunTerminalError: not to be
            had.
        ConflictError: the policy was changed and does not allow it.
    """
    run = lock_run(tx, read(tx, who.owner, tool_call_id)["run_id"])
    row = read(tx, who.owner, tool_call_id)
    host = hosts.speaks_for(tx, who) if who.host_id is not None else None
    _check_audience(row, who, {tool.name for tool in host.tools} if host else set())
    is_repeat = who.key is not None and row["claim_key"] == _claim_key(who)
    _check_free(run, row, now, is_repeat=is_repeat and row["status"] == RequestStatus.TAKEN)
    ruling_again.check_allowed(tx, run, row)
    old = json.loads(row["old_hashes"]) + ([row["token_hash"]] if row["token_hash"] else [])
    tx.run(
        "UPDATE tool_requests SET status = 'taken', dispatch = dispatch + :more, holder = :holder,"
        " holder_host = :host, lease_until = :lease, claim_key = :key, token_hash = :hash,"
        " old_hashes = :old WHERE tool_call_id = :id",
        more=0 if is_repeat else 1,
        holder=who.host_id or who.name,
        host=who.host_id,
        lease=now + host.lease_ms if host else None,
        key=_claim_key(who),
        hash=digest_of_token(token),
        old=encode_json(old[-50:]),
        id=tool_call_id,
    )
    sql = "UPDATE tool_calls SET status = 'running' WHERE tool_call_id = :id"
    tx.run(sql, id=tool_call_id)
    return Dispatch(request_from(read(tx, None, tool_call_id)), token)


def _claim_key(who: Claim) -> str | None:
    if who.key is None:
        return None
    return digest_of_token(encode_json([who.caller, who.host_id, who.key]))


def _check_audience(row: Row, who: Claim, names: set[str]) -> None:
    match Audience(row["audience"]):
        case Audience.OWNER:
            return
        case Audience.HOST if who.host_id == row["host_id"]:
            return
        case Audience.HOSTS if row["tool_name"] in names:
            return
    raise ForbiddenError(
        f"tool call {row['tool_call_id']} is for a tool host that runs {row['tool_name']}"
    )


def _check_free(run: Row, row: Row, now: int, *, is_repeat: bool) -> None:
    _check_alive(run, row, now)
    if row["status"] == RequestStatus.WAITING or is_repeat:
        return
    is_lost = row["lease_until"] is not None and row["lease_until"] <= now
    if not is_lost or row["effect"] == Effect.UNSAFE:
        raise RequestTakenError(f"{row['holder']} runs tool call {row['tool_call_id']}")


def _check_alive(run: Row, row: Row, now: int) -> None:
    """Refuse what comes too late."""
    call_id = row["tool_call_id"]
    if run["state"] in TERMINAL or run["cancel_asked_at"] is not None:
        word = run["state"] if run["state"] in TERMINAL else "being cancelled"
        raise RunTerminalError(f"run {run['run_id']} is {word}; nothing is needed any more")
    if row["status"] == RequestStatus.UNKNOWN:
        raise ToolCallSettledError(
            f"the outcome of tool call {call_id} is unknown; a person resolves it:"
            f" POST /v1/tool_calls/{call_id}/resolve"
        )
    if now >= row["expires_at"] and row["result_digest"] is None:
        raise RequestExpiredError(f"the time to answer tool call {call_id} is over")
    if row["call_status"] in (ToolCallStatus.WAITING_APPROVAL, ToolCallStatus.CREATED):
        raise ToolCallSettledError(f"a person is asked about tool call {call_id} first")
    if row["status"] == RequestStatus.CLOSED:
        raise ToolCallSettledError(f"tool call {call_id} has its outcome already")


def beat(tx: Tx, who: Claim, held: tuple[str, ...], now: int) -> Beat:
    """Note that a host is there and still works on the calls `held`.

    Raises:
        NotFoundError, ForbiddenError: no such host, or another credential's.
    """
    host = hosts.keep_alive(tx, hosts.speaks_for(tx, who), now)
    kept = [
        call_id
        for call_id in sorted(set(held))
        if tx.run(
            "UPDATE tool_requests SET lease_until = :until WHERE tool_call_id = :id AND"
            " owner = :owner AND holder_host = :host AND status = 'taken' AND expires_at > :now",
            until=host.alive_until,
            id=call_id,
            owner=who.owner,
            host=host.host_id,
            now=now,
        )
    ]
    lost = tuple(call_id for call_id in dict.fromkeys(held) if call_id not in kept)
    return Beat(host, tuple(kept), lost)


def submit(tx: Tx, owner: str, tool_call_id: str, said: Submission, now: int) -> Submitted:
    """Take the result of a call, once; the same one again is answered as the first time.

    Raises:
        NotFoundError: no such request for this owner.
        DispatchRefusedError, DispatchSupersededError: the token is not, or no longer, the one.
        ToolCallSettledError, RequestExpiredError, RunTerminalError: it is too late.
        InvalidRequestError: the result does not fit the tool's schema.
    """
    run = lock_session_and_run(tx, read(tx, owner, tool_call_id)["run_id"])
    row = read(tx, owner, tool_call_id)
    _check_token(row, said.token)
    digest = digest_of_result(said.outcome)
    if row["result_digest"] == digest:
        return Submitted(get_tool_call(tx, owner, tool_call_id), replayed=True)
    if row["result_digest"] is not None:
        raise ToolCallSettledError(f"tool call {tool_call_id} was answered with another result")
    _check_alive(run, row, now)
    _check_shape(run, row, said)
    tx.run(
        "UPDATE tool_requests SET result_digest = :digest, answered_by = :by"
        " WHERE tool_call_id = :id",
        digest=digest,
        by=said.by,
        id=tool_call_id,
    )
    call = toolcalls.call_of_step(tx, run["run_id"], row["step_id"])
    if said.outcome.error_code == UNKNOWN_CODE and row["effect"] == Effect.UNSAFE:
        requests.leave_to_person(tx, run, call, said.outcome.content, now)
    else:
        status = ToolCallStatus.SUCCEEDED if said.outcome.ok else ToolCallStatus.FAILED
        requests.settle(tx, run, row, call, (status, said.outcome), now)
    return Submitted(get_tool_call(tx, owner, tool_call_id), replayed=False)


def _check_token(row: Row, token: str) -> None:
    digest = digest_of_token(token)
    is_last = row["token_hash"] is not None and hmac.compare_digest(row["token_hash"], digest)
    if is_last and row["holder"] is not None:
        return
    if is_last or digest in json.loads(row["old_hashes"]):
        raise DispatchSupersededError(
            f"tool call {row['tool_call_id']} was handed out anew since; drop what you have"
        )
    raise DispatchRefusedError(f"the token is not one of tool call {row['tool_call_id']}")


def _check_shape(run: Row, row: Row, said: Submission) -> None:
    spec = requests.client_tool(run, row["tool_name"])
    schema = spec.client.result_schema if spec and spec.client else None
    if schema is None or not said.outcome.ok:
        return
    wrong = problems(schema, said.value)
    if wrong:
        raise InvalidRequestError(f"the result does not fit the tool: {'; '.join(wrong)}"[:2000])


def late(tx: Tx, now: int) -> list[str]:
    """Return the requests that nobody answers any more, or whose holder is gone."""
    rows = tx.all(
        f"SELECT * FROM tool_requests WHERE status IN {requests.OPEN} AND (expires_at <= :now"
        " OR (status = 'taken' AND lease_until <= :now) OR (status = 'waiting'"
        " AND offline = 'fail')) ORDER BY expires_at LIMIT 10000",
        now=now,
    )
    return [row["tool_call_id"] for row in rows if _is_late(tx, row, now)]


def _is_late(tx: Tx, row: Row, now: int) -> bool:
    if now >= row["expires_at"]:
        return True
    if row["status"] == RequestStatus.TAKEN:
        return row["lease_until"] is not None and bool(row["lease_until"] <= now)
    if row["offline"] != Offline.FAIL:
        return False
    return not hosts.is_served(tx, row["owner"], row["tool_name"], row["host_id"], now)


def give_up(tx: Tx, tool_call_id: str, now: int) -> str | None:
    """Settle a request that is late; return its run when that has to look."""
    run = lock_session_and_run(tx, read(tx, None, tool_call_id)["run_id"])
    row = read(tx, None, tool_call_id)
    is_open = row["status"] in (RequestStatus.WAITING, RequestStatus.TAKEN)
    if not is_open or run["cancel_asked_at"] is not None or not _is_late(tx, row, now):
        return None
    call = toolcalls.call_of_step(tx, run["run_id"], row["step_id"])
    if now >= row["expires_at"]:
        requests.expire(tx, run, row, call, now)
    elif row["status"] == RequestStatus.TAKEN:
        requests.lose(tx, run, row, call, now)
    else:
        requests.fail_offline(tx, run, row, call, now)
    after = read(tx, None, tool_call_id)
    return str(run["run_id"]) if after["news_at"] is not None else None


def request_from(row: Row) -> ToolRequest:
    """Return a row as a value."""
    return ToolRequest.model_validate({name: row[name] for name in ToolRequest.model_fields})
