"""How much later than its departure from the model a token reaches the viewer, at 50 a second."""

import json
import re
from statistics import median

from bench.bars import Figure, WrongAnswerError
from bench.events import Expected, check_run, events_of, lateness_ns
from bench.lab import Lab
from bench.ours import start_request
from bench.stats import Paired, percentile
from bench.wire import Connection, request_bytes

TOKENS = 50
PROMPT = f"[[tokens={TOKENS} first_ms=300 gap_ms=20 clock]]"
_STAMP = re.compile(rb"@(\d+)")


def measure(lab: Lab) -> list[Figure]:
    """Stream one answer at a time through the product and straight from the model, in turn."""
    runs, rounds = (1, 3) if lab.quick else (2, 7)
    ours_ms(lab, 1)
    ours = [ours_ms(lab, runs)]
    direct = [direct_ms(lab, runs)]
    for _ in range(rounds - 1):
        ours.append(ours_ms(lab, runs))
        direct.append(direct_ms(lab, runs))
    p50 = Paired(
        [percentile(part, 0.5) for part in ours], [percentile(part, 0.5) for part in direct]
    )
    mine, other = p50.shown("ms")
    late = [percentile(part, 0.99) for part in ours]
    late_direct = [percentile(part, 0.99) for part in direct]
    note = f"the latest of {sum(map(len, ours))} tokens {max(map(max, ours)):.1f} ms"
    return [
        Figure(
            "lateness",
            median(late),
            f"{median(late):.3g} ms",
            f"{median(late_direct):.3g} ms",
            late,
            note,
        ),
        Figure("lateness_p50", p50.ratio, mine, other, p50.ratios, "", {"pair": p50}),
    ]


def ours_ms(lab: Lab, runs: int) -> list[float]:
    """Return the lateness of each token as the viewer of the start's own stream sees it."""
    late: list[float] = []
    with lab.ours.connect() as api:
        for _ in range(runs):
            events = events_of(api.send(start_request(PROMPT)))
            check_run(events, Expected(TOKENS))
            late += [ns / 1e6 for ns in lateness_ns(events)]
    if len(late) != runs * TOKENS:
        raise WrongAnswerError(f"{len(late)} tokens instead of {runs * TOKENS}")
    return late


def direct_ms(lab: Lab, runs: int) -> list[float]:
    """Return the lateness of each token as a caller of the model sees it."""
    body = {
        "model": "fake",
        "stream": True,
        "messages": [{"role": "user", "content": PROMPT}],
    }
    request = request_bytes("POST", "/v1/chat/completions", body, {"authorization": "Bearer x"})
    late: list[float] = []
    with Connection(lab.fake.port) as model:
        for _ in range(runs):
            for at_ns, piece in model.send(request).pieces:
                late += [(at_ns - int(stamp)) / 1e6 for stamp in _STAMP.findall(piece)]
    if len(late) != runs * TOKENS:
        raise WrongAnswerError(f"{len(late)} tokens instead of {runs * TOKENS}: {json.dumps(body)}")
    return late
