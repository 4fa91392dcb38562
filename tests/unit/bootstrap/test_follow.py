"""A run's events reach the viewer once and in order, whatever happens to the connection."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from bootstrap.commands import follow
from bootstrap.commands.api import Api
from bootstrap.commands.failure import CommandError, ServerAwayError
from bootstrap.commands.follow import RunStream
from tests.stub.http import Exchange, serving
from tests.unit.bootstrap.threads import in_thread

LAST = 9


def event(seq: int) -> dict[str, Any]:
    kind = "run_done" if seq == LAST else "agent_stream_delta"
    # A line separator inside JSON is no end of a line in the stream.
    return {"seq": seq, "type": kind, "data": {"text": f"t{seq}\u2028 "}}


def frame(seq: int) -> bytes:
    data = json.dumps(event(seq), ensure_ascii=False)
    return f"id: {seq}\nevent: {event(seq)['type']}\ndata: {data}\n\n".encode()


class FlakyServer:
    """Answers each connection as the next of `acts` says, then behaves."""

    def __init__(self, *acts: str) -> None:
        self.acts = list(acts)
        self.seen: list[tuple[str, str]] = []
        self.keys: list[str] = []

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        after = int(request.headers.get("last-event-id", "0"))
        self.seen.append((request.method, request.headers.get("last-event-id", "")))
        self.keys.append(request.headers.get("idempotency-key", ""))
        act = self.acts.pop(0) if self.acts else "all"
        if act.isdigit():
            await exchange.reply_json(
                {"type": "urn:orchestrator:error:x", "detail": f"status {act}"}, int(act)
            )
        elif act == "reset before head":
            exchange.reset()
        elif act == "204":
            await exchange.reply(b"", 204)
        else:
            await self._stream(exchange, after, act)

    async def _stream(self, exchange: Exchange, after: int, act: str) -> None:
        await exchange.start_stream(headers={"location": "/v1/runs/run_1"})
        await exchange.send(b"retry: 2000\n\n: ping\n\n")
        if act == "replay":
            after = 0
        for seq in range(after + 1, LAST + 1):
            if act in ("reset", "shutdown", "half", "empty") and seq > after + 2:
                break
            if act != "empty":
                await exchange.send(frame(seq))
        if act == "half":
            await exchange.send(frame(after + 3)[:-5])
        if act == "shutdown":
            await exchange.send(b'event: shutdown\ndata: {"reason":"stops"}\n\n')
        if act == "reset":
            exchange.reset()
        else:
            await exchange.end()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause for no time between tries."""
    monkeypatch.setattr(follow, "_FIRST_PAUSE", 0.0)


@contextlib.contextmanager
def watching(server: FlakyServer, **options: Any) -> Iterator[RunStream]:
    with in_thread(serving(server)) as stub, Api(stub.url) as api:
        options = {"start": {"input": "x"}, **options}
        yield RunStream(lambda: contextlib.nullcontext(api), **options)


@pytest.mark.parametrize(
    "acts",
    [
        [],
        ["reset"],
        ["shutdown", "reset", "half"],
        ["half", "half"],
        ["reset", "replay"],
        ["reset before head", "reset"],
        ["503", "429", "shutdown", "502"],
        ["empty", "reset", "empty"],
    ],
)
def test_every_event_comes_once_and_in_order(acts: list[str]) -> None:
    server = FlakyServer(*acts)

    with watching(server) as stream:
        seen = list(stream.events())

    assert seen == [event(seq) for seq in range(1, LAST + 1)]
    assert stream.run_id == "run_1"
    assert stream.reconnects == len(acts) - ("replay" in acts)


def test_a_reconnect_resumes_after_the_last_event_it_saw() -> None:
    server = FlakyServer("reset", "shutdown")

    with watching(server) as stream:
        list(stream.events())

    assert server.seen == [("POST", ""), ("GET", "2"), ("GET", "4")]


def test_a_start_whose_answer_was_lost_is_repeated_under_the_same_key() -> None:
    server = FlakyServer("reset before head", "503")

    with watching(server) as stream:
        list(stream.events())

    assert [method for method, _ in server.seen] == ["POST"] * 3
    assert len(set(server.keys)) == 1
    assert server.keys[0]


def test_a_run_that_has_ended_already_brings_nothing_more() -> None:
    with watching(FlakyServer("204"), start=None, run_id="run_1", last_seq=LAST) as stream:
        assert list(stream.events()) == []


def test_a_refusal_is_final() -> None:
    server = FlakyServer("404")

    refused = pytest.raises(CommandError, match="status 404")
    with watching(server, start=None, run_id="run_1") as stream, refused:
        list(stream.events())

    assert len(server.seen) == 1


def test_a_server_that_is_not_there_is_not_waited_for() -> None:
    with Api("http://127.0.0.1:1") as api:
        stream = RunStream(lambda: contextlib.nullcontext(api), start={"input": "x"})

        with pytest.raises(ServerAwayError, match="cannot be reached"):
            list(stream.events())


def test_a_server_that_stays_away_is_given_up_and_the_run_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = FlakyServer("reset", *["503"] * 10_000)

    given_up = pytest.raises(CommandError, match="goes on: orchestrator runs tail run_1")
    with watching(server, patience=0.05) as stream, given_up:
        list(stream.events())

    assert capsys.readouterr().err.count("connecting again") == 1


def test_what_is_left_of_a_start_is_said_as_far_as_it_is_known() -> None:
    with watching(FlakyServer("503", "reset")) as stream:
        events = stream.events()
        before = stream.left()
        next(events)

    assert before == "nothing was started"
    assert stream.left() == "the run goes on: orchestrator runs tail run_1"


def test_a_start_that_nobody_answered_may_have_been_heard() -> None:
    nobody_knows = pytest.raises(CommandError, match="nobody knows yet whether a run was started")
    with watching(FlakyServer(*["503"] * 10_000), patience=0.05) as stream, nobody_knows:
        list(stream.events())


def test_events_after_an_outage_renew_the_patience(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(FlakyServer("reset", "reset"), patience=0.0) as stream:
        seen = list(stream.events())

    assert len(seen) == LAST
    assert capsys.readouterr().err.count("connecting again") == 2
