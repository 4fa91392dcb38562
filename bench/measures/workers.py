"""The roles apart, two workers: kill -9 of one, none restarted, until its runs stream again."""

import asyncio
import time
from collections.abc import Sequence
from statistics import median

from bench.bars import Figure, WrongAnswerError
from bench.events import Seen
from bench.lab import Lab
from bench.measures import kills
from bench.ours import Orchestrator

_PLAN = (0, 0, 0, 0, 1, 1)
"""Turns with a tool before the streamed answer of each run."""
_MID_STREAM_SECONDS = 1.5


def measure(lab: Lab) -> list[Figure]:
    """Kill one worker after the other; a new one takes the place of each before the next round."""
    server = lab.child(
        "cluster", "-m", "bench.anchors.devserver", "--data-file", str(lab.folder / "cluster.db")
    )
    server.hear()
    shared = {
        "TEMPORAL_ADDRESS": server.ask({"do": "serve"})["address"],
        "DATABASE_URL": f"sqlite:///{lab.folder / 'apart.db'}",
    }
    api = lab.orchestrator("api", "api", **shared)
    api.spawn()
    workers = [lab.orchestrator(f"worker{at}", "worker", **shared).start() for at in range(2)]
    api.wait_ready()
    waits, disorder = [], 0
    for number in range(2 if lab.quick else 5):
        subjects, killed_ns = asyncio.run(_round(lab, api, workers.pop(0), number))
        waits.append(max(_waits(subjects, killed_ns)))
        disorder += kills.disorder(subjects)
        workers.append(lab.orchestrator(f"worker-{number}", "worker", **shared).start())
    for process in (api, *workers):
        process.stop()
    server.kill()
    # The worst, not the middle: who waits long is what a takeover is judged by.
    value = max(waits)
    note = f"{len(waits)} kills, the slowest run of each; median {median(waits):.2f} s"
    return [
        Figure("worker_kill", value, f"{value:.2f} s", "", waits, note),
        Figure("viewer", disorder, str(disorder), note="one of two workers killed"),
    ]


async def _round(
    lab: Lab, api: Orchestrator, victim: Orchestrator, number: int
) -> tuple[Sequence[kills.Subject], int]:
    """Kill a worker in mid-stream; return the runs, all ended, and when that was."""
    names = kills.fresh(lab, "one", number, _PLAN)
    subjects = kills.start(api, lambda: api.port, names)
    watching = asyncio.gather(*(subject.viewer.watch() for subject in subjects))
    await asyncio.sleep(_MID_STREAM_SECONDS)
    assert victim.child is not None
    killed_ns = time.monotonic_ns()
    victim.child.kill()
    async with asyncio.timeout(60):
        await watching
    for subject in subjects:
        subject.check()
    if repeated := kills.repeated_steps(lab.fake, subjects):
        raise WrongAnswerError(f"{repeated} completed steps were repeated")
    return subjects, killed_ns


def _waits(subjects: Sequence[kills.Subject], killed_ns: int) -> list[float]:
    """Return the seconds without a token for each run that the killed worker had.

    Raises:
        WrongAnswerError: it had none.
    """
    waits = [
        (token_ns - killed_ns) / 1e9
        for subject in subjects
        if (token_ns := _first_after_reset_ns(subject.viewer.events, killed_ns)) is not None
    ]
    if not waits:
        raise WrongAnswerError("the killed worker had no run")
    return waits


def _first_after_reset_ns(events: Sequence[Seen], killed_ns: int) -> int | None:
    resets = [e.seq for e in events if e.type == "agent_stream_reset" and e.at_ns > killed_ns]
    if not resets:
        return None
    return next(e.at_ns for e in events if e.type == "agent_stream_delta" and e.seq > resets[0])
