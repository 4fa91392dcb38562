"""`approvals ...` and the calls that wait for a person, against the real API over fakes."""

import asyncio
import json

import pytest

from domain.tool import ToolCallStatus
from tests.fakes.world import World
from tests.unit.bootstrap.conftest import Command


@pytest.fixture(autouse=True)
def asked(world: World) -> World:
    """One question waits, and one call whose outcome nobody knows."""
    asyncio.run(world.furnish())
    world.keys.by_digest.clear()
    return world


def test_arguments_are_shown_with_what_nobody_sees(ask: Command, asked: World) -> None:
    row = asked.approvals.rows["ap_01k9"]
    asked.approvals.rows["ap_01k9"] = row.model_copy(update={"args": '{"to":"pay\u200bpal"}'})

    shown = ask("approvals", "show", "ap_01k9").out

    assert "pay\\u200bpal" in shown
    assert "\u200b" not in shown


def test_approvals_are_listed_and_shown(ask: Command) -> None:
    listed = ask("approvals", "list").out

    assert "ap_01k9" in listed
    assert "wire()" in listed
    assert "args_digest" in ask("approvals", "show", "ap_01k9").out
    assert json.loads(ask("approvals", "show", "ap_01k9", "--json").out)["tool_name"] == "wire"
    assert "no such approvals" in ask("approvals", "list", "--status", "approved").err
    assert "ap_01k9" in ask("approvals", "list", "--status", "all", "--run", "run_02k9").out


def test_a_call_is_approved(ask: Command) -> None:
    said = ask("approvals", "approve", "ap_01k9", "--reason", "fine")

    assert said.out == "ap_01k9 is approved by local\n"
    again = ask("approvals", "approve", "ap_01k9")
    assert again.code == 1
    assert "approved by local" in again.err


def test_a_call_is_approved_with_other_arguments(ask: Command) -> None:
    options = ("--args", '{"to": "bob"}', "--remember", "agent", "--json")

    said = json.loads(ask("approvals", "approve", "ap_01k9", *options).out)

    assert (said["edited_args"], said["remember"]) == ({"to": "bob"}, "agent")


@pytest.mark.parametrize(("args", "said"), [("{", "not JSON"), ("[1]", "JSON object")])
def test_arguments_with_a_mistake_are_a_usage_error(ask: Command, args: str, said: str) -> None:
    refused = ask("approvals", "approve", "ap_01k9", "--args", args)

    assert refused.code == 2
    assert said in refused.err


def test_a_call_is_rejected(ask: Command) -> None:
    said = ask("approvals", "reject", "ap_01k9", "--reason", "too expensive")

    assert said.out == "ap_01k9 is rejected by local\n"


def test_unknown_outcomes_are_listed_shown_and_resolved(ask: Command, world: World) -> None:
    listed = ask("tools", "calls", "--status", "outcome_unknown").out
    assert "tc_01k9" in listed
    assert "outcome_unknown" in ask("tools", "show-call", "tc_01k9").out

    said = ask("tools", "resolve", "tc_01k9", "happened", "--result", "sent")

    assert said.out == "tc_01k9 is succeeded: happened\n"
    assert world.runs.calls["tc_01k9"].status is ToolCallStatus.SUCCEEDED
    assert ask("tools", "resolve", "tc_01k9", "give_up").code == 1
    assert "no such tool calls" in ask("tools", "calls", "--status", "outcome_unknown").err


def test_an_outcome_is_resolved_as_json(ask: Command) -> None:
    said = json.loads(ask("tools", "resolve", "tc_01k9", "give_up", "--json").out)

    assert said["resolution"] == "give_up"


def test_an_outcome_that_there_is_not_is_refused(ask: Command) -> None:
    refused = ask("tools", "resolve", "tc_01k9", "perhaps")

    assert refused.code == 1
    assert "outcome" in refused.err
