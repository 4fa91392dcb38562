"""Tool policy: whether a call may run, must be asked for, or may not. Pure; reads no store.

Layers, the first that speaks decides: the agent's rules in order, what a person chose to remember
(turns `ask` into `allow`), tools without an effect (allowed), the agent's default. At last an
`allow` of a tool with an effect becomes `ask` while untrusted text is in the turn: whoever wrote
that text may be the one who wants the call. A rule of the agent's own is enough for an idempotent
tool, nothing but a person for an unsafe one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from domain.patterns import is_found, is_pattern
from domain.tool import SPAWN_TOOL, Effect


class PolicyDecision(StrEnum):
    """What becomes of a call."""

    ALLOW = "allow"
    ASK = "ask"
    """A person decides."""
    BLOCK = "block"
    """The model reads why, and nothing runs."""


class Op(StrEnum):
    """How an argument is compared."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    LT = "lt"
    IN = "in"
    """The argument is one of a list."""
    MATCHES = "matches"
    """A regular expression is found in the argument, a text. Linear in time (Rust's `regex`)."""


class OnTimeout(StrEnum):
    """What happens to a question that nobody answers in time."""

    REJECT = "reject"
    APPROVE = "approve"
    ESCALATE = "escalate"
    """The next of `escalate_to` is asked, for as long again; after the last it is a rejection."""


_STORED = {"stored": True}
"""The validation context of what was registered before, perhaps by a release that took more."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(_Part):
    """A claim about one argument; `arg` may lead into objects with dots: `order.amount`."""

    arg: str = Field(min_length=1, max_length=200)
    op: Op
    value: Any

    @model_validator(mode="after")
    def _can_be_judged(self) -> "Condition":
        fits = {
            Op.IN: isinstance(self.value, list),
            Op.MATCHES: isinstance(self.value, str) and is_pattern(self.value),
            Op.GT: _is_ordered(self.value),
            Op.LT: _is_ordered(self.value),
        }.get(self.op, True)
        if not fits:
            sentence = "the value does not fit the op {op}"
            raise PydanticCustomError("condition_value", sentence, {"op": self.op.value})
        return self


class Rule(_Part):
    """What to do with calls of a tool, or of all whose name fits `*` and `?`, under conditions."""

    tool: str = Field(min_length=1, max_length=100)
    when: tuple[Condition, ...] = Field(default=(), max_length=50)
    decision: PolicyDecision
    reason: str | None = Field(default=None, max_length=1000)


class Asking(_Part):
    """How people are asked. Without `expires_in_seconds` a question waits for ever."""

    expires_in_seconds: float | None = Field(default=None, gt=0, le=31_536_000)
    on_timeout: OnTimeout = OnTimeout.REJECT
    escalate_to: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(), max_length=20
    )

    @model_validator(mode="after")
    def _says_what_can_happen(self, info: ValidationInfo) -> "Asking":
        if info.context is _STORED:
            return self
        if self.expires_in_seconds is None and self._says_on_timeout():
            said = "on_timeout needs expires_in_seconds: without it a question waits for ever"
            raise PydanticCustomError("on_timeout_alone", said)
        if self.on_timeout is OnTimeout.ESCALATE and not self.escalate_to:
            said = "on_timeout escalate needs escalate_to: who is asked next"
            raise PydanticCustomError("escalate_to_nobody", said)
        return self

    def _says_on_timeout(self) -> bool:
        """Whether it was meant: who sends every default back means nothing by it."""
        if self.on_timeout is not OnTimeout.REJECT:
            return True
        given = self.model_fields_set
        return "on_timeout" in given and "expires_in_seconds" not in given


class ToolPolicy(_Part):
    """Which calls of an agent run at once. The first rule that fits wins."""

    default: PolicyDecision = PolicyDecision.ALLOW
    rules: tuple[Rule, ...] = Field(default=(), max_length=200)
    approval: Asking = Asking()


@dataclass(frozen=True, slots=True)
class CallInQuestion:
    """A call as the policy sees it. `args` is what the model sent.

    `is_tainted` says that untrusted text is in the turn; `remembered_by` who chose that calls of
    this tool need not be asked for any more.
    """

    tool: str
    effect: Effect
    args: str
    is_tainted: bool = False
    remembered_by: str | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """A decision and a sentence that says why. `by_rule`: a rule of the agent's was enough."""

    decision: PolicyDecision
    reason: str
    by_rule: bool = False


def rule_on(policy: ToolPolicy, call: CallInQuestion) -> Ruling:
    """Decide about a call."""
    ruling = _by_layers(policy, call)
    if ruling.decision is not PolicyDecision.ALLOW or not is_asked_anyway(
        call.tool, call.effect, is_tainted=call.is_tainted
    ):
        return ruling
    if ruling.by_rule and call.effect is Effect.IDEMPOTENT:
        return ruling
    kind = "is unsafe" if call.effect is Effect.UNSAFE else "has an effect"
    return Ruling(PolicyDecision.ASK, f"untrusted text is in the turn and the tool {kind}")


def is_asked_anyway(tool: str, effect: Effect, *, is_tainted: bool) -> bool:
    """Whether a person is asked about a call that no rule speaks of, remembered or not.

    A child run begins with the strangers' text on record, so what it calls is asked for there.
    """
    return is_tainted and effect is not Effect.NONE and tool != SPAWN_TOOL


def policy_from(stored: Mapping[str, Any]) -> ToolPolicy:
    """Return a policy as it was registered. What an older release let pass unread is left out."""
    known = {name: value for name, value in stored.items() if name in ToolPolicy.model_fields}
    given = {name: value for name, value in known.items() if value}
    return ToolPolicy.model_validate(given, context=_STORED)


def print_of(policy: Mapping[str, Any]) -> str:
    """Return a short digest of a policy as it was given, to notice that it was changed."""
    return sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()[:16]


def _by_layers(policy: ToolPolicy, call: CallInQuestion) -> Ruling:
    args = _object(call.args)
    for number, rule in enumerate(policy.rules, start=1):
        if _fits(rule, call.tool, args):
            said = rule.reason or f"rule {number} for {rule.tool}"
            return _unless_remembered(Ruling(rule.decision, said, by_rule=True), call)
    if call.effect is Effect.NONE:
        return Ruling(PolicyDecision.ALLOW, "the tool has no effect")
    said = f"the default is {policy.default}"
    return _unless_remembered(Ruling(policy.default, said), call)


def _unless_remembered(ruling: Ruling, call: CallInQuestion) -> Ruling:
    if ruling.decision is PolicyDecision.ASK and call.remembered_by is not None:
        said = f"{call.remembered_by} approved this tool before and had it remembered"
        return Ruling(PolicyDecision.ALLOW, said)
    return ruling


def _fits(rule: Rule, tool: str, args: dict[str, Any] | None) -> bool:
    """Whether a rule speaks about a call. A condition that cannot be judged counts against it."""
    if not fnmatchcase(tool, rule.tool):
        return False
    strict = rule.decision is not PolicyDecision.ALLOW
    found = (_holds(condition, args) for condition in rule.when)
    return all(strict if held is None else held for held in found)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _holds(condition: Condition, args: dict[str, Any] | None) -> bool | None:
    """Whether a condition is true; None when the argument is missing or of another type."""
    found, value = _find(args, condition.arg)
    if not found:
        return None
    wanted = condition.value
    match condition.op:
        case Op.EQ:
            return _same(value, wanted)
        case Op.NE:
            return not _same(value, wanted)
        case Op.IN:
            return any(_same(value, one) for one in wanted)
        case Op.MATCHES:
            return is_found(wanted, value) if isinstance(value, str) else None
        case _:
            return _compared(condition.op, value, wanted)


def _find(args: dict[str, Any] | None, path: str) -> tuple[bool, Any]:
    """Look an argument up, by its name or by its way through objects."""
    here: Any = args
    if isinstance(here, dict) and path in here:
        return True, here[path]
    for part in path.split("."):
        if not isinstance(here, dict) or part not in here:
            return False, None
        here = here[part]
    return True, here


def _same(one: object, other: object) -> bool:
    # To Python True is 1; to whoever writes a rule it is not.
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _is_ordered(value: object) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def _compared(op: Op, value: Any, wanted: Any) -> bool | None:  # noqa: ANN401 - any JSON
    both_text = isinstance(value, str) and isinstance(wanted, str)
    both_numbers = not isinstance(value, str) and not isinstance(wanted, str)
    if not (_is_ordered(value) and (both_text or both_numbers)) or value != value:  # noqa: PLR0124 - NaN
        return None
    return bool(value > wanted) if op is Op.GT else bool(value < wanted)
