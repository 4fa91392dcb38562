"""Approvals: a question to a person about one tool call, bound to exactly what will run."""

import json
import re
from enum import StrEnum
from hashlib import sha256

from pydantic import BaseModel, ConfigDict

from domain.event import as_json
from domain.policy import OnTimeout
from domain.tool import Effect

SUMMARY_CHARS = 300
REASON_CHARS = 10_000
_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What could make a text look like another one: controls, line ends, turns of direction, and
characters that nobody sees."""


class ApprovalStatus(StrEnum):
    """Where a question stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    """Nobody decided in time, or the run ended first."""


class Remember(StrEnum):
    """For how long an approval answers the same question: for calls of the same tool."""

    NONE = "none"
    SESSION = "session"
    AGENT = "agent"


class Risk(StrEnum):
    """How much a wrong decision could hurt."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


_RISKS = {Effect.NONE: Risk.LOW, Effect.IDEMPOTENT: Risk.MEDIUM, Effect.UNSAFE: Risk.HIGH}

UNVERIFIED = "temporal (unverified)"
"""Who decided by a signal or update sent to Temporal: nobody knows."""
BY_POLICY = "tool policy"
"""Who decided a call that a changed policy, or a remembered approval, settled."""
BY_TIMEOUT = "timeout"


class Answer(BaseModel):
    """What is said to a question, and by which credential.

    `edited_args` replaces the arguments, as JSON text. `args_digest`, when given, is the digest of
    what was shown: the answer counts only for that.
    """

    model_config = ConfigDict(frozen=True)

    approved: bool
    by: str
    reason: str | None = None
    edited_args: str | None = None
    args_digest: str | None = None
    remember: Remember = Remember.NONE


class Approval(BaseModel):
    """A question on record. `asks` is who is asked now: the next of an escalation, else nobody."""

    model_config = ConfigDict(frozen=True)

    approval_id: str
    owner: str
    run_id: str
    session_id: str | None
    agent_id: str | None
    tool_call_id: str
    tool_name: str
    args: str
    args_summary: str
    args_digest: str
    risk: Risk
    why: str
    """The policy's reason to ask."""
    asker: str
    asks: str | None
    on_timeout: OnTimeout
    status: ApprovalStatus
    edited_args: str | None = None
    edited_digest: str | None = None
    remember: Remember = Remember.NONE
    decided_by: str | None = None
    decided_at: int | None = None
    reason: str | None = None
    created_at: int
    expires_at: int | None
    untrusted: bool = False
    """Untrusted text raised the bar for this call: `remember` is refused."""
    kind: str = "tool"
    """`tool`: a call waits for it; `budget`: a run whose next call a budget does not cover."""
    budget_id: str | None = None
    revision: int = 0
    """Counts the changes of this question, so that a follower notices each."""


def digest_of_call(tool: str, args: str, tool_call_id: str) -> str:
    """Return the SHA-256 of exactly what will run.

    Over the compact JSON, with sorted keys, of `{"arguments", "tool", "tool_call_id"}`; arguments
    that are no JSON object or list are the text itself.
    """
    value = {"tool": tool, "arguments": as_json(args), "tool_call_id": tool_call_id}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


def edit_of(args: str, said: Answer) -> str | None:
    """Return the arguments to run instead of `args`; None when the answer changes nothing."""
    edited = said.edited_args
    return None if edited is None or as_json(edited) == as_json(args) else edited


def risk_of(effect: Effect, *, is_tainted: bool) -> Risk:
    """Return the risk of a call; untrusted text in the turn raises it."""
    if is_tainted and effect is Effect.IDEMPOTENT:
        return Risk.HIGH
    return _RISKS[effect]


def summary_of(tool: str, args: str) -> str:
    r"""Return a call on one line, cut; what could deceive the reader is shown as `\uXXXX`."""
    value = as_json(args)
    if isinstance(value, dict):
        shown = ", ".join(f"{key}={_shown(item)}" for key, item in value.items())
    else:
        shown = _shown(value)
    text = f"{tool}({shown})"
    cut = text if len(text) <= SUMMARY_CHARS else text[: SUMMARY_CHARS - 4] + "...)"
    return _STEERING.sub(lambda match: f"\\u{ord(match.group()):04x}", cut)


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
