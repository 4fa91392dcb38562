"""What people had remembered: approvals that answer later questions about the same tool.

One holds under the very policy it was given under, by its print. Once that policy is changed it is
forgotten for good: it does not come back with the policy.
"""

from adapters.store.database.tx import Row, Tx

_FORGOTTEN = ""
"""The print of no policy."""


def remembered_by(
    tx: Tx, owner: str, tool: str, agent: tuple[str | None, str | None, str]
) -> str | None:
    """Return who had an approval of this tool remembered; `agent` is its id, session and print."""
    agent_id, session_id, policy_print = agent
    row = tx.one(
        "SELECT decided_by FROM approvals WHERE remember <> 'none' AND owner = :owner"
        " AND tool_name = :tool AND policy_print = :print AND status = 'approved'"
        " AND agent_id = :agent"
        " AND (remember = 'agent' OR (remember = 'session' AND session_id = :session)) LIMIT 1",
        owner=owner,
        tool=tool,
        print=policy_print,
        agent=agent_id,
        session=session_id,
    )
    return str(row["decided_by"]) if row else None


def remember(tx: Tx, approval: Row, policy_print: str) -> None:
    """Bind what is remembered to the policy of now: it holds until that is changed."""
    tx.run(
        "UPDATE approvals SET policy_print = :print WHERE approval_id = :id",
        print=policy_print,
        id=approval["approval_id"],
    )


def forget(tx: Tx, owner: str, agent_id: str) -> None:
    """Forget what was remembered under an agent's policy; owner "" is that of a shared agent."""
    whose, params = "owner = :owner", {"owner": owner}
    if not owner:
        # Who has an agent of that name is not concerned by the shared one.
        whose, params = (
            "NOT EXISTS (SELECT 1 FROM agents WHERE agents.owner = approvals.owner"
            " AND agents.agent_id = approvals.agent_id)",
            {},
        )
    tx.run(
        f"UPDATE approvals SET policy_print = '{_FORGOTTEN}' WHERE remember <> 'none'"
        f" AND status = 'approved' AND agent_id = :agent_id AND {whose}",
        agent_id=agent_id,
        **params,
    )
