"""What people see: event lines, the growing answer, tables."""

import io
import json
import sys
from typing import Any

import pytest

from bootstrap import terminal
from bootstrap.commands import output
from bootstrap.commands.event_lines import EventPrinter, summary
from bootstrap.commands.screen import RunScreen
from domain.event import DATA_OF


def event(kind: str, seq: int = 1, /, **data: Any) -> dict[str, Any]:
    return {"seq": seq, "ts": 0, "type": kind, "data": data}


def delta(text: str, attempt: int = 1, step: str = "llm-1-1") -> dict[str, Any]:
    return event("agent_stream_delta", text=text, step=step, attempt=attempt)


def printed(*events: dict[str, Any]) -> list[str]:
    stream = io.StringIO()
    printer = EventPrinter(stream)
    for one in events:
        printer.show(one)
    printer.finish()
    return [line[13:] for line in stream.getvalue().splitlines()]


# ------------------------------------------------------------------ event lines


def test_pieces_of_one_attempt_stand_on_one_line() -> None:
    lines = printed(delta("a "), delta("b "), delta("c", attempt=2), event("run_resumed"))

    assert lines[0] == "   1  agent_stream_delta    a b "
    assert lines[1] == "   1  agent_stream_delta    c"
    assert lines[2].startswith("   1  run_resumed")


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (event("run_started", agent_id="a", kind="agent"), "a"),
        (event("run_started", agent_id=None, kind="tool"), "tool"),
        (event("user_input", content="hello"), "hello"),
        (event("llm_call_started", model="m", attempt=2), "m, attempt 2"),
        (
            event("llm_call_done", model="m", estimated=False, total_tokens=0, error={"code": "x"}),
            "m failed: x",
        ),
        (
            event("llm_call_done", model="m", estimated=True, total_tokens=9, error={"code": "x"}),
            "m failed: x, about 9 tokens by estimate",
        ),
        (event("tool_call_created", tool_name="t", args="{}"), "t({})"),
        (event("tool_result", result="5", error=None), "5"),
        (event("tool_result", result=None, error={"code": "c", "message": "m"}), "c: m"),
        (event("model_fallback", **{"from": "a", "to": "b", "reason": "r"}), "a -> b: r"),
        (event("route_decided", agent_id="a", reason="r"), "a: r"),
        (event("route_decided", tier="simple", reason="r"), "simple: r"),
        (event("route_decided", escalated_from="m", reason="r"), "above m: r"),
        (event("route_decided", escalated_from="m", tier="complex", reason="r"), "above m: r"),
        (event("route_decided", tier=None, reason="r"), "the usual models: r"),
        (event("run_failed", code="c", message="m"), "c: m"),
        (event("run_cancelled", reason=None), ""),
        (event("run_waiting", waiting_on="approval", reason="r"), "approval: r"),
        (event("agent_stream_reset", step="s", attempt=2), "attempt 2 begins"),
        (event("run_done", usage={"cost_usd": None}), "0 tokens in, 0 out, unpriced"),
        (event("of_tomorrow", x=1), '{"x": 1}'),
        (event("run_failed"), "{}"),
        (event("tool_result", error="odd"), '{"error": "odd"}'),
    ],
)
def test_an_event_is_said_in_a_few_words(one: dict[str, Any], said: str) -> None:
    assert summary(one).startswith(said)


@pytest.mark.parametrize("kind", [kind.value for kind in DATA_OF])
def test_every_type_of_event_has_words_of_its_own(kind: str) -> None:
    """What the catalogue of events promises is enough to say it."""
    data = {name: {} if name in ("usage", "error") else "x" for name in DATA_OF[kind]}  # type: ignore[index]

    assert not summary(event(kind, **data)).startswith("{")


def test_an_event_stays_on_its_line_and_cannot_steer_the_terminal() -> None:
    lines = printed(event("user_input", content="a\n\x1b[2Jb\r" + "x" * 500), delta("c\nd\x07"))

    assert len(lines) == 2
    assert "\\u001b[2Jb" in lines[0]
    assert lines[0].endswith("...")
    assert "c \u21b5 d\\u0007" in lines[1]


# ------------------------------------------------------------------ the answer


def shown(live: bool, *events: dict[str, Any]) -> None:
    screen = RunScreen(live=live)
    for one in events:
        screen.show(one)


def done(text: str) -> dict[str, Any]:
    return event("run_done", final_message={"role": "assistant", "content": text}, usage={})


RESET = event("agent_stream_reset", step="llm-1-1", attempt=2)


def test_a_program_reads_only_the_committed_answer(capsys: pytest.CaptureFixture[str]) -> None:
    shown(False, delta("lo"), RESET, delta("lost"), done("final\x1b"))

    assert capsys.readouterr().out == "final\x1b\n"


def test_a_person_sees_the_answer_grow(capsys: pytest.CaptureFixture[str]) -> None:
    shown(True, delta("a "), delta("b\x1b[2J"), done("a b\x1b[2J"))

    said = capsys.readouterr()
    assert said.out == "a b\\u001b[2J\n"
    assert said.err == ""


def test_a_person_is_told_that_an_attempt_was_lost(capsys: pytest.CaptureFixture[str]) -> None:
    shown(True, delta("a "), RESET, delta("a "), delta("b"), done("a b"))

    said = capsys.readouterr()
    assert said.out == "a \na b\n"
    assert "begins again" in said.err


def test_an_answer_that_differs_from_the_screen_is_shown_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown(True, delta("half"), done("whole"))

    assert capsys.readouterr().out == "half\nwhole\n"


def test_tools_and_waits_are_said_beside_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    shown(
        True,
        delta("calling"),
        event("tool_call_created", tool_name="t", args="{}"),
        event("tool_result", result="x" * 500, error=None),
        event("run_waiting", waiting_on="approval", reason="r"),
        delta("5"),
        done("5"),
    )

    said = capsys.readouterr()
    assert said.out == "calling\n5\n"
    assert [line.split()[0] for line in said.err.splitlines()] == ["t({})", "=", "approval:"]
    assert max(map(len, said.err.splitlines())) < 220


# ------------------------------------------------------------------ tables and objects


def test_a_table_is_aligned_and_no_wider_than_the_terminal() -> None:
    rows: list[dict[str, Any]] = [{"a": "x", "b": "long " * 50}, {"a": None, "b": ["p", "q"]}]

    head, first, second = output.table(rows, ("a", "b"), 40).splitlines()

    assert head == "A  B"
    assert len(first) == 40
    assert first.endswith("...")
    assert second == "-  p, q"


def test_a_cell_cannot_break_its_line_or_steer_the_terminal() -> None:
    text = output.table([{"a": "x\n\x1b[2Jy"}], ("a",), 80)

    assert text.splitlines()[1] == "x \\u001b[2Jy"


def test_an_object_is_a_line_per_field(capsys: pytest.CaptureFixture[str]) -> None:
    output.out_object({"id": "x", "usage": {"n": 1}, "tags": []}, as_json=False)
    output.out_object({"id": "x"}, as_json=True)

    text = capsys.readouterr().out
    assert text.splitlines()[:3] == ["id     x", 'usage  {"n": 1}', "tags   -"]
    assert json.loads("\n".join(text.splitlines()[3:])) == {"id": "x"}


# ------------------------------------------------------------------ the terminal


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_are_where_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colour: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert ("\x1b[31m" in terminal.paint("x", "red", io.StringIO())) is colour


def test_scripts_and_emoji_stay_as_they_are() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    text = f"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 {family} a\tb\n"

    assert terminal.harmless(text) == text


def test_what_nobody_sees_is_shown_where_a_person_judges_by_looks() -> None:
    assert terminal.seen("pay\u200bpal \ufeff\u2060\U000e0041\x1b") == (
        "pay\\u200bpal \\ufeff\\u2060\\ue0041\\u001b"
    )


def test_what_takes_long_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class AtOnce:
        def __init__(self, _seconds: float, say: Any) -> None:
            self.start, self.cancel = say, lambda: None

    monkeypatch.setattr("bootstrap.terminal.threading.Timer", AtOnce)

    with terminal.working("building"):
        assert capsys.readouterr().err == "==> building ...\n"

    assert capsys.readouterr().err.startswith("==> building: ")


def test_what_is_quick_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.working("looking"):
        pass

    assert capsys.readouterr().err == ""
    assert sys.stdout is not None
