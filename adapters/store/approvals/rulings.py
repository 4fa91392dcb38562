"""What the tool policy says of a call: gathers from the rows what the pure rule needs."""

import json
from dataclasses import dataclass
from typing import Any

from adapters.store.approvals import taint
from adapters.store.approvals.remembering import remembered_by
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
    stored = _policy_in_force(tx, asking) if asking else {}
    policy, mark = policy_from(stored), print_of(stored)
    effect = Effect(call["effect"])
    judged = Judged(
        ruling=Ruling(PolicyDecision.ALLOW, ""),
        policy=policy,
        print=mark,
        agent_id=asking["agent_id"] if asking else None,
        session_id=asking["session_id"] if asking else None,
        is_tainted=effect is not Effect.NONE and taint.is_tainted(tx, run, call, asking),
    )
    question = CallInQuestion(
        tool=call["tool_name"],
        effect=effect,
        args=call["args"],
        is_tainted=judged.is_tainted,
        remembered_by=remembered_by(
            tx, run["owner"], call["tool_name"], (judged.agent_id, judged.session_id, mark)
        ),
    )
    ruling = rule_on(policy, question)
    return Judged(ruling, policy, mark, judged.agent_id, judged.session_id, judged.is_tainted)


def mark_of(tx: Tx, run: Row) -> tuple[str | None, str]:
    """Return whose policy the calls of a run are under, and its print."""
    asking = _asking_run(tx, run)
    if asking is None:
        return None, print_of({})
    return asking["agent_id"], print_of(_policy_in_force(tx, asking))


def print_in_force(tx: Tx, owner: str, agent_id: str | None) -> str | None:
    """Return the print of an agent's policy; None when it is gone, which changes nothing."""
    policy = _policy_of(tx, owner, agent_id)
    return None if policy is None else print_of(policy)


def _policy_in_force(tx: Tx, run: Row) -> dict[str, Any]:
    """Return the policy of a run's agent as it is now; of one that is gone, as it was."""
    policy = _policy_of(tx, run["owner"], run["agent_id"])
    return RunSpec.model_validate_json(run["spec"]).tool_policy if policy is None else policy


def _policy_of(tx: Tx, owner: str, agent_id: str | None) -> dict[str, Any] | None:
    agent = tx.one(
        "SELECT body FROM agents WHERE agent_id = :id AND owner IN (:owner, '')"
        " ORDER BY owner DESC LIMIT 1",
        id=agent_id,
        owner=owner,
    )
    if agent is None:
        return None
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
