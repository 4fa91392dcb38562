"""The tool policy: which calls run, which are asked for, which are refused."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.policy import (
    CallInQuestion,
    PolicyDecision,
    ToolPolicy,
    policy_from,
    print_of,
    rule_on,
)
from domain.tool import Effect

ALLOW, ASK, BLOCK = PolicyDecision.ALLOW, PolicyDecision.ASK, PolicyDecision.BLOCK
TRANSFER: dict[str, Any] = {
    "rules": [
        {"tool": "wipe", "decision": "block", "reason": "never"},
        {
            "tool": "transfer",
            "when": [{"arg": "amount", "op": "gt", "value": 100}],
            "decision": "ask",
        },
        {"tool": "transfer", "decision": "allow"},
    ]
}


def call(tool: str = "transfer", effect: Effect = Effect.UNSAFE, **args: Any) -> CallInQuestion:
    return CallInQuestion(tool=tool, effect=effect, args=json.dumps(args))


def decision(policy: dict[str, Any], asked: CallInQuestion) -> PolicyDecision:
    return rule_on(policy_from(policy), asked).decision


def when(op: str, value: object, decision: str = "block", arg: str = "x") -> dict[str, Any]:
    condition = {"arg": arg, "op": op, "value": value}
    return {"rules": [{"tool": "transfer", "when": [condition], "decision": decision}]}


def test_without_a_policy_an_agent_may_use_its_tools() -> None:
    ruling = rule_on(ToolPolicy(), call())

    assert (ruling.decision, ruling.reason) == (ALLOW, "the default is allow")


def test_the_first_rule_that_fits_wins_and_says_why() -> None:
    assert decision(TRANSFER, call(amount=150)) == ASK
    assert decision(TRANSFER, call(amount=50)) == ALLOW
    ruling = rule_on(policy_from(TRANSFER), call("wipe"))
    assert (ruling.decision, ruling.reason) == (BLOCK, "never")
    asked = rule_on(policy_from(TRANSFER), call(amount=150))
    assert asked.reason == "rule 2 for transfer"


@pytest.mark.parametrize("default", ["ask", "block"])
def test_a_tool_without_an_effect_is_safe_by_nature_but_not_against_a_rule(default: str) -> None:
    harmless = call("read", Effect.NONE)

    assert decision({"default": default}, harmless) == ALLOW
    assert decision({"rules": [{"tool": "read", "decision": default}]}, harmless) == default
    assert decision({"default": default}, call("read", Effect.IDEMPOTENT)) == default


def test_a_rule_may_speak_about_many_tools() -> None:
    policy = {"rules": [{"tool": "mail_*", "decision": "block"}], "default": "ask"}

    assert decision(policy, call("mail_send")) == BLOCK
    assert decision(policy, call("mail")) == ASK


@pytest.mark.parametrize(
    ("op", "value", "given", "holds"),
    [
        ("eq", "a", "a", True),
        ("eq", 1, True, False),
        ("ne", "a", "b", True),
        ("ne", "a", "a", False),
        ("gt", 100, 100.5, True),
        ("gt", 100, 100, False),
        ("lt", 100, 99, True),
        ("gt", "2026-01-01", "2026-02-01", True),
        ("in", ["a", 2], 2, True),
        ("in", ["a", 1], True, False),
        ("matches", "^rm ", "rm -rf /", True),
        ("matches", "^rm ", "ls; rm", False),
        ("matches", "secret", "a secret plan", True),
        ("eq", {"a": 1}, {"a": 1}, True),
    ],
)
def test_a_condition_is_a_claim_about_an_argument(
    op: str, value: object, given: object, holds: bool
) -> None:
    assert (decision(when(op, value), call(x=given)) == BLOCK) == holds


@pytest.mark.parametrize(
    "asked",
    [
        call(),
        call(x="150"),
        call(x=None),
        call(x=True),
        call(x={"y": 150}),
        CallInQuestion("transfer", Effect.UNSAFE, "{broken"),
        CallInQuestion("transfer", Effect.UNSAFE, "[150]"),
        CallInQuestion("transfer", Effect.UNSAFE, "[" * 100_000),
        CallInQuestion("transfer", Effect.UNSAFE, '{"x": NaN}'),
    ],
)
def test_a_condition_that_cannot_be_judged_counts_against_the_call(asked: CallInQuestion) -> None:
    """Else a number sent as text would get past a rule about its size."""
    assert decision(when("gt", 100), asked) == BLOCK
    assert decision(when("gt", 100, "ask"), asked) == ASK
    allowing = {**when("lt", 1000, "allow"), "default": "ask"}
    assert decision(allowing, asked) == ASK


def test_a_text_is_not_found_in_what_is_no_text() -> None:
    assert decision(when("matches", "1"), call(x=1)) == BLOCK
    assert decision({**when("matches", "1", "allow"), "default": "ask"}, call(x=1)) == ASK


def test_an_argument_may_lie_inside_objects() -> None:
    policy = when("eq", "prod", arg="target.env")
    dotted = CallInQuestion("transfer", Effect.UNSAFE, '{"target.env": "prod"}')

    assert decision(policy, call(target={"env": "prod"})) == BLOCK
    assert decision(policy, call(target={"env": "test"})) == ALLOW
    assert decision(policy, dotted) == BLOCK


def test_every_condition_of_a_rule_has_to_hold() -> None:
    both = [{"arg": "x", "op": "gt", "value": 1}, {"arg": "y", "op": "eq", "value": "a"}]
    policy = {"rules": [{"tool": "*", "when": both, "decision": "block"}]}

    assert decision(policy, call(x=2, y="a")) == BLOCK
    assert decision(policy, call(x=2, y="b")) == ALLOW


def test_untrusted_text_raises_the_bar_for_tools_with_an_effect() -> None:
    def tainted(effect: Effect, policy: dict[str, Any], by: str | None = None) -> PolicyDecision:
        return decision(policy, CallInQuestion("wire", effect, "{}", True, by))

    allowing = {"rules": [{"tool": "wire", "decision": "allow"}]}
    assert tainted(Effect.UNSAFE, {}) == ASK
    assert tainted(Effect.UNSAFE, allowing) == ASK
    assert tainted(Effect.UNSAFE, {"default": "ask"}, "eve") == ASK
    assert tainted(Effect.UNSAFE, {"default": "block"}) == BLOCK
    assert tainted(Effect.IDEMPOTENT, {}) == ASK
    assert tainted(Effect.IDEMPOTENT, {"default": "ask"}, "eve") == ASK
    assert tainted(Effect.IDEMPOTENT, allowing) == ALLOW, "somebody said so of this very tool"
    assert decision({}, CallInQuestion("spawn_run", Effect.IDEMPOTENT, "{}", True)) == ALLOW
    assert tainted(Effect.NONE, {}) == ALLOW


def test_what_a_person_remembered_answers_a_question_but_lifts_no_block() -> None:
    asked = CallInQuestion("wire", Effect.UNSAFE, "{}", False, "eve")

    ruling = rule_on(policy_from({"default": "ask"}), asked)
    assert ruling.decision == ALLOW
    assert "eve" in ruling.reason
    assert decision({"rules": [{"tool": "wire", "decision": "ask"}]}, asked) == ALLOW
    assert decision({"default": "block"}, asked) == BLOCK


@pytest.mark.parametrize(
    "policy",
    [
        {"default": "perhaps"},
        {"defaults": "ask"},
        {"rules": [{"decision": "ask"}]},
        when("matches", "("),
        when("matches", 5),
        when("in", "abc"),
        when("gt", [1]),
        when("gt", True),
        when("like", "a"),
        {"approval": {"expires_in_seconds": 0}},
        {"approval": {"on_timeout": "shrug"}},
    ],
)
def test_a_policy_that_could_not_be_judged_by_is_refused(policy: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ToolPolicy.model_validate(policy)


def test_a_pattern_never_takes_long() -> None:
    policy = policy_from(when("matches", "^(a+)+$"))
    began = time.thread_time()

    rule_on(policy, call(x="a" * 50_000 + "b"))

    assert time.thread_time() - began < 1


def test_what_an_older_release_stored_unread_is_left_out() -> None:
    assert policy_from({"rules": None, "later": []}) == ToolPolicy()


def test_a_policy_is_recognised_by_its_print() -> None:
    one, other = {"default": "ask", "rules": []}, {"rules": [], "default": "ask"}

    assert print_of(one) == print_of(other) != print_of({"default": "block", "rules": []})


@given(st.text(), st.text(min_size=1, max_size=200), st.booleans())
def test_any_arguments_can_be_ruled_on(args: str, arg: str, tainted: bool) -> None:
    policy = policy_from(when("gt", 5, arg=arg))

    ruling = rule_on(policy, CallInQuestion("transfer", Effect.UNSAFE, args, tainted))

    assert ruling.reason
