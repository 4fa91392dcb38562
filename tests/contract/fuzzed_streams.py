"""Answers of external agents, valid or not, made from a seed: what is sent, and what must be read.

Each kind of `KINDS` is a function of a random generator. `Plan.answer` is sent piece by piece (a
`float` is a pause, `CUT` an abrupt end), then the connection is closed, or held open. What must be
read is the final text, or errors of which one has to come.
"""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from adapters.agents.http import StreamLimits
from domain.errors import AgentFailedError, AgentUnavailableError, OrchestratorError

LIMITS = StreamLimits(line_bytes=64 << 10, event_bytes=128 << 10, total_bytes=512 << 10)
"""Small, so that ten thousand streams that go past them are soon sent."""
RUN = "run_1"
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n"
CUT = None
Piece = bytes | float | None
FAILED = (AgentFailedError,)
GONE = (AgentUnavailableError,)
EITHER = (AgentFailedError, AgentUnavailableError)


@dataclass(frozen=True)
class Plan:
    """One answer. `text` is what a valid one says; `errors` are what another may end with."""

    answer: Callable[[], Iterator[Piece]]
    text: str | None = None
    errors: tuple[type[OrchestratorError], ...] = ()
    said: str = ""
    """A part of the error's text."""
    holds: bool = False
    idle_seconds: float = 30.0
    total_seconds: float = 60.0
    """The deadlines of who reads it: short where they are what ends it."""


def plan_of(seed: int) -> tuple[str, Plan]:
    """Return the answer of a seed, with the name of its kind."""
    rng = random.Random(seed)
    make = KINDS[seed % len(KINDS)]
    return make.__name__, make(rng)


def split(rng: random.Random, data: bytes) -> list[Piece]:
    """Cut data anywhere, now and then at every byte."""
    if rng.random() < 0.1 and len(data) < 2000:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))
    edges = [0, *cuts, len(data)]
    return [data[low:high] for low, high in pairwise(edges) if high > low]


def event(rng: random.Random, name: str, data: object, end: str = "\n") -> str:
    """Write an event in one of the many ways that the HTML specification allows."""
    lines = [f"event:{rng.choice(['', ' '])}{name}"]
    text = json.dumps(data, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, None, 1]))
    lines += [f"data: {line}" for line in text.split("\n")]
    extras = [": a comment", ":", "id: 7", "id: a\0b", "retry: 10", "unknown: field", "nocolon"]
    lines += rng.sample(extras, rng.randrange(3))
    rng.shuffle(lines) if text.count("\n") == 0 else None
    return end.join([*lines, "", ""])


def words(rng: random.Random) -> list[str]:
    some = ["Hello", " wörld", "!", "\n", "\t", "日本", "🎈", "", '"', "\\", "data: x", "\u2028"]
    return [rng.choice(some) for _ in range(rng.randrange(1, 12))]


def deltas(rng: random.Random, said: list[str], end: str = "\n") -> str:
    blocks = []
    for word in said:
        named = {"run_id": RUN} if rng.random() < 0.7 else {}
        blocks.append(event(rng, "delta", {"text": word, **named}, end))
        if rng.random() < 0.1:
            blocks.append(event(rng, rng.choice(["ping", "surprise"]), {"text": "no"}, end))
        if rng.random() < 0.1:
            blocks.append(event(rng, "state", {"state": "busy", "detail": word}, end))
    return "".join(blocks)


def stream(rng: random.Random, body: bytes | str, head: bytes = HEAD, **how: object) -> Plan:
    data = body.encode() if isinstance(body, str) else body
    pieces = split(rng, head + b"\r\n" + data)
    return Plan(lambda: iter(pieces), **how)  # type: ignore[arg-type] # fields of Plan


# ------------------------------------------------------------------ right answers


def valid(rng: random.Random) -> Plan:
    end = rng.choice(["\n", "\r", "\r\n"])
    said = words(rng)
    done: dict[str, object] = {"usage": {"total_tokens": 3}}
    final = "".join(said)
    match rng.randrange(4):
        case 0:
            done["final_message"] = {"role": "assistant", "content": final}
        case 1:
            done["run_id"] = RUN
        case 2:
            final = done["final_message"] = "another text"
        case _:
            done["final_message"] = final
    bom = rng.choice(["", "", "\ufeff"])
    tail = rng.choice(["", event(rng, "delta", {"text": "late"}), "garbage", "\0" * 10])
    tail += rng.choice(["", event(rng, "done", {"final_message": "second"})])
    body = bom + deltas(rng, said, end) + event(rng, "done", done, end) + tail
    return stream(rng, body, text=final, holds=rng.random() < 0.3)


def valid_compressed(rng: random.Random) -> Plan:
    said = words(rng)
    body = (deltas(rng, said) + event(rng, "done", {})).encode()
    name = rng.choice(["gzip", "deflate"])
    packed = gzip.compress(body) if name == "gzip" else zlib.compress(body)
    head = HEAD + f"Content-Encoding: {name}\r\n".encode()
    return stream(rng, packed, head, text="".join(said))


def valid_chunked(rng: random.Random) -> Plan:
    said = words(rng)
    body = (deltas(rng, said) + event(rng, "done", {})).encode()
    parts = [piece for piece in split(rng, body) if isinstance(piece, bytes)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return stream(rng, chunks, HEAD + b"Transfer-Encoding: chunked\r\n", text="".join(said))


# ------------------------------------------------------------------ no answers


def garbage(rng: random.Random) -> Plan:
    return stream(rng, rng.randbytes(rng.randrange(5000)), errors=EITHER)


def no_http(rng: random.Random) -> Plan:
    pieces = split(rng, rng.randbytes(rng.randrange(1, 500)) + b"\r\n\r\n")
    return Plan(lambda: iter(pieces), errors=EITHER)


def html(rng: random.Random) -> Plan:
    kind = rng.choice([b"text/html", b"application/json", b"text/plain", b""])
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: " + kind + b"\r\n"
    return stream(rng, "<html>no agent</html>", head, errors=FAILED, said="not text/event-stream")


def status(rng: random.Random) -> Plan:
    code = rng.choice([201, 204, 301, 302, 307, 400, 401, 404, 408, 418, 429, 500, 503, 599])
    head = f"HTTP/1.1 {code} X\r\nConnection: close\r\nLocation: http://127.0.0.1:1/\r\n".encode()
    wanted = GONE if code in (408, 429) or code >= 500 else FAILED
    return stream(rng, b"" if code == 204 else b"x", head, errors=wanted, said=f"answered {code}")


def no_done(rng: random.Random) -> Plan:
    end = event(rng, "done", {"final_message": "x"})
    cut = rng.choice(
        [deltas(rng, words(rng)), end.rstrip("\n"), end[: rng.randrange(len(end) - 1)]]
    )
    return stream(rng, cut, errors=GONE, said="ended without done")


def half_closed(rng: random.Random) -> Plan:
    body = deltas(rng, words(rng)).encode()
    head = HEAD + rng.choice([b"Content-Length: 99999999\r\n", b"Transfer-Encoding: chunked\r\n"])
    framed = b"%x\r\n%s" % (len(body) + 5, body) if b"chunked" in head else body
    return stream(rng, framed, head, errors=GONE, said="cannot be reached")


def reset(rng: random.Random) -> Plan:
    pieces = [*split(rng, HEAD + b"\r\n" + deltas(rng, words(rng)).encode()), 0.0, CUT]
    return Plan(lambda: iter(pieces), errors=GONE)


def bad_chunks(rng: random.Random) -> Plan:
    bad = rng.choice(
        [b"zz\r\nabc\r\n", b"-5\r\nabc\r\n", b"fffffffffffffffffffff\r\n", b"\r\n\r\n"]
    )
    return stream(rng, bad, HEAD + b"Transfer-Encoding: chunked\r\n", errors=EITHER)


def endless(rng: random.Random) -> Plan:
    """As fast as it is read: text, comments, or events that say nothing."""
    block = rng.choice([event(rng, "delta", {"text": "x" * 900}), ": ping\n\n" * 100])
    block = rng.choice([block, event(rng, "nothing", {"x": "y" * 900})])

    def answer() -> Iterator[Piece]:
        yield HEAD + b"\r\n"
        while True:
            yield block.encode()

    return Plan(answer, errors=FAILED, said=f"larger than {LIMITS.total_bytes} bytes")


def silent(rng: random.Random) -> Plan:
    """Something at the beginning, then nothing but comments, or nothing at all."""
    begin = HEAD[: rng.randrange(len(HEAD))] if rng.random() < 0.3 else HEAD + b"\r\n"
    pings = rng.random() < 0.5 and begin.endswith(b"\r\n\r\n")

    def answer() -> Iterator[Piece]:
        yield begin
        while pings:
            yield b": ping\n\n"
            yield 0.02

    return Plan(answer, errors=GONE, said="sent nothing new for", holds=True, idle_seconds=0.2)


def slow_for_ever(rng: random.Random) -> Plan:
    """Never silent for long, never done: only the total deadline ends it."""
    block = event(rng, "delta", {"text": "x"}).encode()

    def answer() -> Iterator[Piece]:
        yield HEAD + b"\r\n"
        while True:
            yield block
            yield 0.02

    return Plan(answer, errors=GONE, said="was not done within", total_seconds=0.3)


def informational(rng: random.Random) -> Plan:
    """Interim responses for ever: no head, so no limit on bytes counts."""
    block = rng.choice([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n"])

    def answer() -> Iterator[Piece]:
        while True:
            yield block * 50
            yield 0.01

    return Plan(answer, errors=EITHER, idle_seconds=0.2)


def huge_line(rng: random.Random) -> Plan:
    def answer() -> Iterator[Piece]:
        yield HEAD + b"\r\n" + rng.choice([b"data: ", b": ", b"", b"event: "])
        for _ in range(40):
            yield b"x" * 8192

    return Plan(answer, errors=FAILED, said=f"line is longer than {LIMITS.line_bytes} bytes")


def huge_event(rng: random.Random) -> Plan:
    lines = b"data: " + b"y" * rng.randrange(500, 5000) + b"\n"
    body = lines * (LIMITS.event_bytes // (len(lines) - 6) + 2)
    return stream(rng, body, errors=FAILED, said=f"larger than {LIMITS.event_bytes} bytes")


def huge_head(rng: random.Random) -> Plan:
    head = b"".join(b"X-%d: %s\r\n" % (at, b"v" * 500) for at in range(rng.randrange(400, 600)))
    return stream(rng, b"", HEAD + head, errors=EITHER)


def bomb(rng: random.Random) -> Plan:
    filler = rng.choice([b": keep-alive\n", b"\n", event(rng, "delta", {"text": "z"}).encode()])
    packed = gzip.compress(filler * (3_000_000 // len(filler)), 9)
    head = HEAD + b"Content-Encoding: gzip\r\n"
    return stream(rng, packed, head, errors=FAILED, said=f"larger than {LIMITS.total_bytes} bytes")


def bad_encoding(rng: random.Random) -> Plan:
    name = rng.choice([b"br", b"gzip, gzip", b"gzip", b"zstd", b"deflate"])
    head = HEAD + b"Content-Encoding: " + name + b"\r\n"
    body = rng.choice(
        [b"no such data" * 20, gzip.compress(b"data: x\n" * 50)[:-20] + b"rubbish" * 9]
    )
    return stream(rng, body, head, errors=EITHER)


def wrong_run(rng: random.Random) -> Plan:
    """Fault 34: cross-run events, in any kind of event and at any place."""
    other = rng.choice(["run_2", "", "RUN_1", "run_1 ", 7, [RUN], {"run_id": RUN}, "run_1\0"])
    name = rng.choice(["delta", "state", "done", "error"])
    fields = {"text": "psst", "state": "s", "final_message": "psst", "code": "c"}
    body = deltas(rng, words(rng)) + event(rng, name, {**fields, "run_id": other})
    body += event(rng, "done", {"final_message": "x"})
    return stream(rng, body, errors=FAILED, said="of another run")


def wrong_types(rng: random.Random) -> Plan:
    odd = rng.choice([7, True, [], ["x"], {"text": "x"}, 1.5, {"content": 7}])
    name, data = rng.choice(
        [
            ("delta", {"text": odd}),
            ("state", {"state": odd}),
            ("state", {"state": "s", "detail": odd}),
            ("error", {"code": odd, "message": "m"}),
            ("done", {"final_message": rng.choice([7, True, [], {"content": 7}])}),
        ]
    )
    return stream(rng, event(rng, name, data), errors=FAILED)


def no_json(rng: random.Random) -> Plan:
    deep = "[" * rng.randrange(200, 20_000)
    bad = rng.choice(
        ["{", "", "nul", "NaN", '{"text": Infinity}', '{"text": "\\ud800"}', deep, "[1]"]
    )
    bad = rng.choice([bad, '{"text": "' + "x" * 10, "7", '"x"', "null", '{"a":' * 500])
    name = rng.choice(["delta", "state", "done", "error"])
    return stream(rng, f"event: {name}\ndata: {bad}\ndata\n\n", errors=FAILED, said="JSON")


def reported(rng: random.Random) -> Plan:
    code = rng.choice(["quota", "", "llm_error", "x" * 5000])
    body = deltas(rng, words(rng)) + event(rng, "error", {"code": code, "message": "m" * 9000})
    return stream(rng, body, errors=FAILED, said="reported")


def many_states(rng: random.Random) -> Plan:
    body = event(rng, "state", {"state": "busy"}) * 1100
    return stream(rng, body, errors=FAILED, said="more than 1000 states")


KINDS: tuple[Callable[[random.Random], Plan], ...] = (
    *(valid, valid, valid, valid_compressed, valid_chunked),
    *(garbage, no_http, html, status, no_done, half_closed, reset, bad_chunks),
    *(endless, silent, slow_for_ever, informational),
    *(huge_line, huge_event, huge_head, bomb, bad_encoding),
    *(wrong_run, wrong_types, no_json, reported, many_states),
)
