"""What the tool policy says of a call: gathers from the rows what the pure rule needs."""

import json
from dataclasses import dataclass
from typing import Any

from adapters.store.database.tx import Row, Tx
from domain.policy import (
    CallInQuestion,
    PolicyDecision,
    Ruling,
    ToolPolicy,
    policy_from,
    print_of,
    rule_on,
)
from domain.run import RunKind, RunSpec
from domain.step import step_place
from domain.tool import Effect


@dataclass(frozen=True, slots=True)
class Judged:
    """A ruling with what it stands on. `agent_id` is whose policy it is; `print` is its digest."""

    ruling: Ruling
    policy: ToolPolicy
    print: str
    agent_id: str | None
    session_id: str | None
    is_tainted: bool


def judge(tx: Tx, run: Row, call: Row) -> Judged:
    """Rule on a call by the policy that its agent has at this moment.

    A call that was asked for over the API inside a run is judged as one of that run's agent.
    """
    asking = _asking_run(tx, run)
    stored = policy_in_force(tx, asking) if asking else {}
    policy, mark = policy_from(stored), print_of(stored)
    effect = Effect(call["effect"])
    judged = Judged(
        ruling=Ruling(PolicyDecision.ALLOW, ""),
        policy=policy,
        print=mark,
        agent_id=asking["agent_id"] if asking else None,
        session_id=asking["session_id"] if asking else None,
        is_tainted=effect is not Effect.NONE and is_tainted(tx, run, call, asking),
    )
    question = CallInQuestion(
        tool=call["tool_name"],
        effect=effect,
        args=call["args"],
        is_tainted=judged.is_tainted,
        remembered_by=_remembered_by(tx, run["owner"], call["tool_name"], judged),
    )
    ruling = rule_on(policy, question)
    return Judged(ruling, policy, mark, judged.agent_id, judged.session_id, judged.is_tainted)


def policy_in_force(tx: Tx, run: Row) -> dict[str, Any]:
    """Return the policy of a run's agent as it is now; of one that is gone, as it was."""
    agent = tx.one(
        "SELECT body FROM agents WHERE agent_id = :id AND owner IN (:owner, '')"
        " ORDER BY owner DESC LIMIT 1",
        id=run["agent_id"],
        owner=run["owner"],
    )
    if agent is None:
        return RunSpec.model_validate_json(run["spec"]).tool_policy
    found: dict[str, Any] = json.loads(agent["body"]).get("tool_policy", {})
    return found


def _asking_run(tx: Tx, run: Row) -> Row | None:
    """Return the run whose agent wants the call, None when a person called the tool by hand.

    However deep a call by API lies below it: else a call inside a call would be under no policy.
    """
    found: Row | None = run
    while found is not None and found["kind"] == RunKind.TOOL:
        found = tx.one("SELECT * FROM runs WHERE run_id = :id", id=found["parent_run_id"])
    return found


def has_read_strangers(tx: Tx, run: Row) -> bool:
    """Whether text of strangers may be in what a run answers."""
    found = tx.one(
        "SELECT 1 AS one FROM tool_calls WHERE run_id = :run AND untrusted = true"
        " AND ended_at IS NOT NULL LIMIT 1",
        run=run["run_id"],
    )
    return bool(run["untrusted"]) or found is not None


def is_tainted(tx: Tx, run: Row, call: Row, asking: Row | None = None) -> bool:
    """Whether text of strangers was there before this call was asked for.

    What runs beside it does not count: the model had not read that yet.
    """
    if run["untrusted"] or (asking is not None and asking["untrusted"]):
        return True
    rows = tx.all(
        "SELECT t.run_id, t.step_id FROM tool_calls t JOIN runs r ON r.run_id = t.run_id"
        " WHERE t.untrusted = true AND t.ended_at IS NOT NULL"
        " AND (t.run_id IN (:run, :asking) OR (r.kind = 'tool' AND r.parent_run_id = :asking))",
        run=run["run_id"],
        asking=asking["run_id"] if asking else None,
    )
    turn = step_place(call["step_id"])[0]
    return any(
        row["run_id"] != run["run_id"] or step_place(row["step_id"])[0] < turn for row in rows
    )


def mark_untrusted(tx: Tx, run: Row, call: Row) -> None:
    """Note that a call will return text of strangers."""
    if '"untrusted":true' not in run["spec"]:
        return  # most runs, which need not be parsed for it
    tools = RunSpec.model_validate_json(run["spec"]).tools
    if any(tool.untrusted for tool in tools if tool.name == call["tool_name"]):
        tx.run(
            "UPDATE tool_calls SET untrusted = true WHERE tool_call_id = :id",
            id=call["tool_call_id"],
        )


def _remembered_by(tx: Tx, owner: str, tool: str, judged: Judged) -> str | None:
    """Return who had an approval of this tool remembered, under the very policy of now."""
    row = tx.one(
        "SELECT decided_by FROM approvals WHERE remember <> 'none' AND owner = :owner"
        " AND tool_name = :tool AND policy_print = :print AND status = 'approved'"
        " AND agent_id = :agent"
        " AND (remember = 'agent' OR (remember = 'session' AND session_id = :session)) LIMIT 1",
        owner=owner,
        tool=tool,
        print=judged.print,
        agent=judged.agent_id,
        session=judged.session_id,
    )
    return str(row["decided_by"]) if row else None
