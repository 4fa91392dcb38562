"""Small values: model names, tokens, scopes, steps, tools, what to mend."""

import pytest

from domain.chat import split_model
from domain.errors import ForbiddenError
from domain.principal import Principal, Scope
from domain.run import Run, RunKind, RunState, RunUsage
from domain.session import estimate_tokens
from domain.stats import RunStats
from domain.step import invoke_step, llm_step, tool_step
from domain.tool import ToolSpec
from domain.upkeep import Mend, OpenRun, what_to_mend


def test_a_model_is_split_at_the_first_slash() -> None:
    assert split_model("ollama/library/llama3") == ("ollama", "library/llama3")


@pytest.mark.parametrize("name", ["gpt", "/gpt", "openai/", ""])
def test_a_model_without_provider_or_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="<provider>/<name>"):
        split_model(name)


def test_tokens_are_estimated_upwards() -> None:
    assert [estimate_tokens(text) for text in ("", "abc", "abcd", "abcde")] == [1, 1, 1, 2]


def test_a_scope_is_needed_and_admin_implies_every_one() -> None:
    reader = Principal(owner="o", name="r", scopes=frozenset({Scope.READ}))
    admin = Principal(owner="o", name="a", scopes=frozenset({Scope.ADMIN}))

    reader.require(Scope.READ)
    for scope in Scope:
        admin.require(scope)
    with pytest.raises(ForbiddenError, match="invoke"):
        reader.require(Scope.INVOKE)


def test_step_ids_name_turn_and_place() -> None:
    assert (llm_step(2, 1), invoke_step(1), tool_step(3, 0)) == ("llm-2-1", "invoke-1", "tool-3-0")


def test_a_model_sees_only_the_schema_of_a_tool() -> None:
    spec = ToolSpec(name="t", description="d", parameters={"type": "object"})

    assert spec.definition().model_dump() == {
        "name": "t",
        "description": "d",
        "parameters": {"type": "object"},
    }


def test_the_success_rate_counts_what_ended() -> None:
    figures = {"total": 5, "waiting": {}, "average_ms": 1.0, "p50_ms": 1.0, "p95_ms": 1.0}
    some = RunStats(by_state={"DONE": 3, "FAILED": 1, "RUNNING": 1}, wait_p95_ms=None, **figures)
    none = RunStats(by_state={"RUNNING": 1}, wait_p95_ms=None, **figures)

    assert (some.success_rate, none.success_rate) == (0.75, None)


def test_a_tool_request_whose_answer_is_an_error_is_no_success() -> None:
    figures = {"total": 4, "waiting": {}, "average_ms": 1.0, "p50_ms": 1.0, "p95_ms": 1.0}

    stats = RunStats(
        by_state={"DONE": 3, "FAILED": 1}, failed_tool_runs=2, wait_p95_ms=None, **figures
    )

    assert (stats.succeeded, stats.failed, stats.success_rate) == (1, 3, 0.25)


def _open(state: RunState = RunState.RUNNING, **facts: bool) -> OpenRun:
    run = Run(
        run_id="run_1",
        owner="o",
        session_id="s",
        agent_id="a",
        kind=RunKind.AGENT,
        state=state,
        waiting_on=None,
        output=None,
        error=None,
        usage=RunUsage(),
        root_run_id="run_1",
        created_at=1,
        started_at=None,
        ended_at=None,
        last_seq=1,
        cancel_asked=facts.pop("cancel_asked", False),
        metadata={},
    )
    known = {"queued": False, "holds_session": True, "was_woken": False, "resolved_unseen": False}
    return OpenRun(run=run, **{**known, **facts})


@pytest.mark.parametrize(
    ("found", "engine", "restarts", "mend"),
    [
        (_open(RunState.CREATED), "missing", False, Mend.START),
        (_open(), "missing", False, Mend.CLOSE),
        (_open(), "missing", True, Mend.START),
        (_open(RunState.CREATED), "closed", False, Mend.CLOSE),
        (_open(cancel_asked=True), "open", False, Mend.CANCEL),
        (_open(resolved_unseen=True), "open", False, Mend.WAKE),
        (_open(queued=True), "open", False, Mend.WAKE),
        (_open(queued=True, was_woken=True), "open", False, Mend.NOTHING),
        (_open(queued=True, holds_session=False), "open", False, Mend.NOTHING),
        (_open(), "open", False, Mend.NOTHING),
    ],
)
def test_what_an_open_run_needs(found: OpenRun, engine: str, restarts: bool, mend: Mend) -> None:
    assert what_to_mend(found, engine, restarts_missing=restarts) is mend
