"""`run` and `runs ...` against the real API over fakes."""

import io
import json
import sys
from typing import cast

import pytest
from fastapi import FastAPI
from starlette.responses import Response

from bootstrap.commands import api as api_module
from bootstrap.commands.api import Api
from tests.fakes.world import World
from tests.unit.bootstrap.conftest import Command, Stand


def test_run_prints_the_answer_and_nothing_else_to_stdout(ask: Command) -> None:
    said = ask("run", "Hello")

    assert (said.code, said.out) == (0, "Hello\n")
    assert "DONE" in said.err
    assert "run_" in said.err


def test_run_with_json_prints_the_run_at_its_end(ask: Command) -> None:
    said = ask("run", "Hello", "--json", "--agent", "assistant", "--session", "s1")

    run = json.loads(said.out)
    assert (said.code, run["state"], run["agent_id"]) == (0, "DONE", "assistant")
    assert run["session_id"] == "s1"
    assert run["output"] == {"role": "assistant", "content": "Hello"}


def test_run_reads_the_question_from_stdin(ask: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a pipe"))

    assert ask("run", "-").code == 0
    assert "from a pipe" in ask("runs", "events", last_run(ask)).out


def test_run_refuses_to_ask_nothing(ask: Command) -> None:
    said = ask("run", "  ")

    assert (said.code, said.err) == (2, "Error: there is nothing to ask\n")


def test_run_with_an_agent_that_does_not_exist_says_so(ask: Command) -> None:
    said = ask("run", "Hello", "--agent", "nobody")

    assert said.code == 1
    assert "there is no agent nobody" in said.err


def last_run(ask: Command) -> str:
    return str(json.loads(ask("runs", "list", "--json", "--limit", "1").out)[0]["run_id"])


def test_runs_are_listed_shown_and_filtered(ask: Command) -> None:
    ask("run", "Hello")
    run_id = last_run(ask)

    listed = ask("runs", "list", "--state", "done").out
    shown = ask("runs", "show", run_id).out
    as_json = json.loads(ask("runs", "show", run_id, "--json").out)

    assert listed.splitlines()[0].startswith("RUN_ID")
    assert run_id in listed
    assert "Hello" in listed
    assert f"run_id         {run_id}" in shown
    assert as_json["run_id"] == run_id
    assert "there are no such runs" in ask("runs", "list", "--state", "FAILED").err


def test_a_list_is_read_over_as_many_pages_as_it_takes(
    ask: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        ask("run", "Hello", "--agent", "assistant")
    monkeypatch.setattr(api_module, "_PAGE", 2)

    assert len(json.loads(ask("runs", "list", "--json").out)) == 5
    assert len(json.loads(ask("runs", "list", "--json", "--limit", "3").out)) == 3


@pytest.mark.parametrize(("limit", "says"), [("2", True), ("3", True), ("5", False), ("6", False)])
def test_a_list_that_stops_before_its_end_says_that_there_is_more(
    ask: Command, monkeypatch: pytest.MonkeyPatch, limit: str, says: bool
) -> None:
    """Over pages of two."""
    for _ in range(5):
        ask("run", "Hello", "--agent", "assistant")
    monkeypatch.setattr(api_module, "_PAGE", 2)

    said = ask("runs", "list", "--limit", limit)

    assert (f"there are more than these {limit}" in said.err) == says
    assert "more than" not in said.out


def test_events_are_printed_once_they_are_there(ask: Command) -> None:
    ask("run", "Hello", "--agent", "assistant")
    run_id = last_run(ask)

    lines = ask("runs", "events", run_id).out.splitlines()
    objects = [
        json.loads(line) for line in ask("runs", "events", run_id, "--json").out.splitlines()
    ]

    assert [event["type"] for event in objects][-2:] == ["agent_stream_delta", "run_done"]
    assert "agent_stream_delta    Hello" in lines[-2]


def test_tail_follows_from_where_it_is_told(ask: Command) -> None:
    ask("run", "Hello", "--agent", "assistant")
    run_id = last_run(ask)

    said = ask("runs", "tail", run_id, "--after-seq", "2", "--json")

    assert [json.loads(line)["seq"] for line in said.out.splitlines()] == [3, 4, 5]
    assert ask("runs", "tail", run_id).out.count("\n") == 4


def test_a_run_can_be_asked_to_stop(ask: Command, world: World, api_url: str) -> None:
    world.gateway.mode = "hold"
    run_id = start(api_url)

    said = ask("runs", "cancel", run_id, "--reason", "enough")
    again = ask("runs", "cancel", run_id, "--json")

    assert said.out == f"{run_id} was asked to stop\n"
    assert json.loads(again.out)["run_id"] == run_id
    assert ask("runs", "cancel", run_id).out == f"{run_id} is CANCELLED\n"


def start(api_url: str) -> str:
    """Leave a run behind that does not end by itself."""
    with Api(api_url) as api:
        return str(api.call("POST", "/v1/runs", body={"input": "Wait"})["run_id"])


def test_a_run_that_is_not_there_is_one_sentence(ask: Command) -> None:
    said = ask("runs", "show", "run_nope")

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("Error: ")
    assert "run_nope" in said.err


_STRANGERS = {
    "404 {}": Response("{}", 404, media_type="application/json"),
    "404 with a detail": Response('{"detail":"Not Found"}', 404, media_type="application/json"),
    "404 page": Response("<h1>gone</h1>", 404, media_type="text/html"),
    "200 page": Response("<h1>hello</h1>", media_type="text/html"),
}


@pytest.mark.parametrize("arguments", [("run", "hi"), ("runs", "list")], ids=" ".join)
@pytest.mark.parametrize("answer", _STRANGERS.values(), ids=_STRANGERS)
def test_another_web_server_is_told_from_an_orchestrator(
    command: Command, stand: Stand, answer: Response, arguments: tuple[str, ...]
) -> None:
    stand.app = cast("FastAPI", answer)

    said = command(*arguments, "--api-url", stand.url)

    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "not as an orchestrator does" in said.err
    assert f"{stand.url}/v1/runs" in said.err
    assert "--api-url" in said.err


def test_a_tree_of_runs_is_shown_with_its_branches(ask: Command, world: World) -> None:
    ask("run", "Hello")
    root = last_run(ask)
    runs = world.runs
    for name, parent in (("run_a", root), ("run_b", root), ("run_c", "run_a")):
        made = runs.runs[root].model_copy(
            update={"run_id": name, "parent_run_id": parent, "output": {"content": f"I am {name}"}}
        )
        runs.runs[name] = made

    shown = ask("runs", "tree", root).out.splitlines()
    as_json = json.loads(ask("runs", "tree", root, "--json").out)
    below = ask("runs", "tree", "run_a").out

    assert [line.split("run_")[0] for line in shown[1:]] == [
        *("├─ ", "│  └─ ", "└─ "),
    ]
    assert [run["run_id"] for run in as_json] == [root, "run_a", "run_c", "run_b"]
    assert "run_b" not in below
    assert "I am run_c" in below
    assert "run_c" not in ask("runs", "list", "--parent", root).out
