"""What `/v1/chat/completions` adds to a model that is passed through: CPU, and time to the first
token, against a direct call to the same model in the same round.

The answers are compared byte by byte with those of the model itself. From the CPU goes what the
process, which is a worker too, uses meanwhile without any call.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.bars import Figure, WrongAnswerError
from bench.lab import Lab
from bench.procs import cpu_seconds
from bench.stats import percentile
from bench.wire import Connection, Reply, request_bytes

TOKENS = 50
ATONCE = f"[[tokens={TOKENS}]] hello"
"""Without any delay, as proxies are measured."""
PACED = f"[[tokens={TOKENS} gap_ms=5]] hello"
"""Tokens one by one: each is read and sent on by itself."""
PAUSE_SECONDS = 0.02
QUIET_SECONDS = 1.0


@dataclass
class _Side:
    """Blocks of calls of one side: milliseconds to the first token, CPU milliseconds per call."""

    first_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """How long a call of each block took, with its pause."""

    def take_off(self, quiet_ms: float) -> None:
        """Leave out what a process uses in a second without calls."""
        pairs = zip(self.cpu_ms, self.seconds, strict=True)
        self.cpu_ms = [cpu - quiet_ms * seconds for cpu, seconds in pairs]


def measure(lab: Lab) -> list[Figure]:
    """Measure blocks of calls in turn."""
    calls, rounds = (10, 5) if lab.quick else (20, 15)
    for prompt in (ATONCE, PACED):
        _compare(_ours(lab, prompt, 5), _direct(lab, prompt, 5))
    ours, direct, paced = _Side(), _Side(), _Side()
    quiet: list[float] = []
    for _ in range(rounds):
        quiet.append(_quiet(lab))
        _compare(_block(lab, ours, ATONCE, calls, _ours), _direct_block(lab, direct, calls))
        _block(lab, paced, PACED, calls, _ours)
    added = [mine - other for mine, other in zip(ours.first_ms, direct.first_ms, strict=True)]
    first = median(ours.first_ms), median(direct.first_ms)
    for side in (ours, paced):
        side.take_off(median(quiet))
    paced_ms = median(paced.cpu_ms)
    return [
        Figure(
            "proxy_cpu",
            median(ours.cpu_ms),
            f"{median(ours.cpu_ms):.3g} ms",
            rounds=ours.cpu_ms,
            note=f"{TOKENS} tokens without delay; one every 5 ms: {paced_ms:.3g} ms",
            detail={"paced": paced.cpu_ms, "quiet_ms_per_second": quiet},
        ),
        Figure("proxy_cpu_paced", paced_ms, f"{paced_ms:.3g} ms", rounds=paced.cpu_ms),
        Figure(
            "proxy_first",
            median(added),
            f"{first[0]:.3g} ms",
            f"{first[1]:.3g} ms",
            added,
            detail={"ours": ours.first_ms, "direct": direct.first_ms},
        ),
    ]


def _block(
    lab: Lab, side: _Side, prompt: str, calls: int, ask: Callable[[Lab, str, int], list[Reply]]
) -> list[Reply]:
    before, started = cpu_seconds(lab.ours.pid), time.monotonic()
    replies = ask(lab, prompt, calls)
    side.cpu_ms.append((cpu_seconds(lab.ours.pid) - before) * 1000 / calls)
    side.seconds.append((time.monotonic() - started) / calls)
    side.first_ms.append(percentile([_first_ms(reply) for reply in replies], 0.5))
    return replies


def _quiet(lab: Lab) -> float:
    """Return what the product uses in a second without calls, in milliseconds of CPU."""
    before = cpu_seconds(lab.ours.pid)
    time.sleep(QUIET_SECONDS)
    return (cpu_seconds(lab.ours.pid) - before) * 1000 / QUIET_SECONDS


def _direct_block(lab: Lab, side: _Side, calls: int) -> list[Reply]:
    replies = _direct(lab, ATONCE, calls)
    side.first_ms.append(percentile([_first_ms(reply) for reply in replies], 0.5))
    return replies


def _ours(lab: Lab, prompt: str, calls: int) -> list[Reply]:
    with lab.ours.connect() as api:
        return _in_turn(api, _request("openai/fake", prompt), calls)


def _direct(lab: Lab, prompt: str, calls: int) -> list[Reply]:
    with Connection(lab.fake.port) as model:
        return _in_turn(model, _request("fake", prompt), calls)


def _in_turn(connection: Connection, request: bytes, calls: int) -> list[Reply]:
    replies = []
    for _ in range(calls):
        time.sleep(PAUSE_SECONDS)
        replies.append(connection.send(request))
    return replies


def _request(model: str, prompt: str) -> bytes:
    body = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": prompt}],
    }
    headers = {"Authorization": "Bearer none"}
    return request_bytes("POST", "/v1/chat/completions", body, headers)


def _first_ms(reply: Reply) -> float:
    """Return when the first token came."""
    seen = b""
    for at_ns, piece in reply.pieces:
        seen += piece
        if b'"t0 "' in seen:
            return (at_ns - reply.sent_ns) / 1e6
    raise WrongAnswerError(f"no token came: {reply.status} {reply.body[:300]!r}")


def _compare(ours: Sequence[Reply], direct: Sequence[Reply]) -> None:
    """Check that what went through is what the model sent.

    Raises:
        WrongAnswerError: it is not.
    """
    (wanted,) = {reply.body for reply in direct}
    for reply in ours:
        if reply.body != wanted or not reply.is_whole:
            raise WrongAnswerError(f"not what the model said: {reply.body[-300:]!r}")
