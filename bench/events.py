"""A run as a viewer sees it: frames to events, and what has to be true of them."""

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.bars import WrongAnswerError
from bench.wire import Reply

_STAMP = re.compile(r"@(\d+)")


@dataclass(frozen=True, slots=True)
class Seen:
    """One event and when its last byte came."""

    seq: int
    type: str
    data: dict[str, Any]
    at_ns: int


def read_events(pieces: Iterable[tuple[int, bytes]]) -> list[Seen]:
    """Return the numbered events of a stream; a frame that was cut off is left out.

    Raises:
        WrongAnswerError: the frame's id or type is not the envelope's.
    """
    events = []
    rest = b""
    for at_ns, piece in pieces:
        *frames, rest = (rest + piece).split(b"\n\n")
        events += [event for frame in frames if (event := _event(frame, at_ns)) is not None]
    return events


def _event(frame: bytes, at_ns: int) -> Seen | None:
    fields = dict(line.partition(b": ")[::2] for line in frame.split(b"\n"))
    if b"id" not in fields:
        return None
    envelope = json.loads(fields[b"data"])
    seq, kind = int(fields[b"id"]), fields[b"event"].decode()
    if (envelope["seq"], envelope["type"]) != (seq, kind):
        raise WrongAnswerError(f"frame {seq} {kind} holds {envelope['seq']} {envelope['type']}")
    return Seen(seq, kind, envelope["data"], at_ns)


def plain(text: str) -> str:
    """Return text without the departure clocks in it."""
    return _STAMP.sub("", text).rstrip()


def tokens_text(count: int) -> str:
    """Return what the model says to `[[tokens=count]]`."""
    return " ".join(f"t{at}" for at in range(count))


def first_delta_ns(events: Sequence[Seen]) -> int:
    """Return when the first piece of the answer came.

    Raises:
        WrongAnswerError: there is none.
    """
    for event in events:
        if event.type == "agent_stream_delta":
            return event.at_ns
    raise WrongAnswerError("no token was streamed")


def lateness_ns(events: Sequence[Seen]) -> list[int]:
    """Return, for each token with a departure clock, how much later it was seen."""
    return [
        event.at_ns - int(stamp)
        for event in events
        if event.type == "agent_stream_delta"
        for stamp in _STAMP.findall(event.data["text"])
    ]


def check_order(events: Sequence[Seen], after: int = 0) -> None:
    """Check that every `seq` after `after` is there once, in order.

    Raises:
        WrongAnswerError: one is missing, doubled or early.
    """
    for place, event in enumerate(events, start=after + 1):
        if event.seq != place:
            raise WrongAnswerError(f"event {event.seq} came where {place} was due")


def count_disorder(events: Sequence[Seen]) -> int:
    """Return how many events came doubled or out of order, plus how many are missing."""
    seqs = [event.seq for event in events]
    wrong = sum(1 for before, now in itertools.pairwise(seqs) if now <= before)
    return wrong + len(set(range(1, max(seqs, default=0) + 1)) - set(seqs))


def streamed_text(events: Sequence[Seen]) -> str:
    """Return the text of the last step's last attempt, put together from the deltas."""
    deltas = [event.data for event in events if event.type == "agent_stream_delta"]
    if not deltas:
        return ""
    last = (deltas[-1]["step"], deltas[-1]["attempt"])
    return "".join(data["text"] for data in deltas if (data["step"], data["attempt"]) == last)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a run had to be: its tokens, its model calls, its tool calls."""

    tokens: int = 50
    model_calls: int | None = 1
    """None where a kill makes the number of attempts a matter of luck."""
    tool_calls: int = 0


def check_run(events: Sequence[Seen], expected: Expected) -> None:
    """Check that a run is complete, in order, DONE, and says what the model said.

    Raises:
        WrongAnswerError: it is not.
    """
    check_order(events)
    last = events[-1] if events else None
    if last is None or last.type != "run_done":
        raise WrongAnswerError(f"the run did not end as DONE: {last}")
    final = last.data["final_message"]["content"]
    if streamed_text(events) != final:
        raise WrongAnswerError("the streamed text is not the final text")
    if plain(final) != tokens_text(expected.tokens):
        raise WrongAnswerError(f"the answer is not what the model said: {final[:200]!r}")
    usage = last.data["usage"]
    if expected.model_calls not in (None, usage["model_calls"]):
        raise WrongAnswerError(f"{usage['model_calls']} model calls instead of {expected}")
    if usage["tool_calls"] != expected.tool_calls:
        raise WrongAnswerError(f"{usage['tool_calls']} tool calls instead of {expected}")


def events_of(reply: Reply) -> list[Seen]:
    """Return the events of an answer that is a whole stream.

    Raises:
        WrongAnswerError: it was refused or cut.
    """
    if reply.status != 200 or not reply.is_whole:
        said = reply.body[:300].decode(errors="replace")
        raise WrongAnswerError(f"the stream broke off ({reply.status}): {said}")
    return read_events(reply.pieces)
