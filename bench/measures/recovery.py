"""kill -9 of everything in mid-stream, restart on the same data: what is lost, repeated, late."""

import asyncio
import json
from dataclasses import dataclass
from statistics import median

from bench.bars import Figure, WrongAnswerError
from bench.lab import Lab
from bench.measures import kills
from bench.measures.latency import PROMPT
from bench.ours import Orchestrator, agent, start_request
from bench.procs import kill_tree

_PLAN = (0, 0, 1, 2)
"""Turns with a tool before the streamed answer of each run."""
_MID_STREAM_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Round:
    """One kill. `extra_seconds` are those of the run that came last."""

    extra_seconds: float
    start_seconds: float
    lost: int
    repeated: int
    disorder: int


def measure(lab: Lab) -> list[Figure]:
    """Kill, restart, wait; several times on the same data."""
    ours = lab.orchestrator("recovery").start()
    ours.register(agent())
    with ours.connect() as api:
        api.send(start_request(PROMPT))
    rounds = [asyncio.run(_round(lab, ours, number)) for number in range(2 if lab.quick else 5)]
    ours.stop()
    extra = [one.extra_seconds for one in rounds]
    value = median(extra)
    note = (
        f"{len(rounds)} kills with {len(_PLAN)} runs each, the last run of each kill; "
        f"start-up {median(one.start_seconds for one in rounds):.2f} s, worst {max(extra):.2f} s"
    )
    return [
        Figure("recovery", value, f"{value:.2f} s", "", extra, note),
        _count("recovery_lost", sum(one.lost for one in rounds)),
        _count("recovery_repeated", sum(one.repeated for one in rounds)),
        _count("viewer", sum(one.disorder for one in rounds), "everything killed"),
    ]


def _count(bar: str, number: int, note: str = "") -> Figure:
    return Figure(bar, number, str(number), note=note)


def _port(ours: Orchestrator) -> int | None:
    """Return the API's port while one is known."""
    try:
        return ours.port
    except (OSError, json.JSONDecodeError, KeyError):
        return None


async def _round(lab: Lab, ours: Orchestrator, number: int) -> Round:
    names = kills.fresh(lab, "kill", number, _PLAN)
    subjects = kills.start(ours, lambda: _port(ours), names)
    watching = asyncio.gather(*(subject.viewer.watch() for subject in subjects))
    await asyncio.sleep(_MID_STREAM_SECONDS)
    assert ours.child is not None
    await asyncio.to_thread(kill_tree, ours.child)
    ours.spawn()
    await asyncio.to_thread(ours.wait_ready)
    try:
        async with asyncio.timeout(60):
            await watching
    except TimeoutError:
        return Round(60.0, ours.start_seconds, _lost(subjects), 0, kills.disorder(subjects))
    for subject in subjects:
        subject.check()
        if subject.viewer.connects < 2:
            raise WrongAnswerError("the kill came after the answer")
    return Round(
        extra_seconds=max(_extra(lab, ours, subject) for subject in subjects),
        start_seconds=ours.start_seconds,
        lost=_lost(subjects),
        repeated=kills.repeated_steps(lab.fake, subjects),
        disorder=kills.disorder(subjects),
    )


def _lost(subjects: list[kills.Subject]) -> int:
    ends = [subject.viewer.events[-1].type for subject in subjects if subject.viewer.events]
    return len(subjects) - ends.count("run_done")


def _extra(lab: Lab, ours: Orchestrator, subject: kills.Subject) -> float:
    """Return the seconds from the restart to the end that neither start-up nor model took."""
    took = subject.viewer.events[-1].at_ns / 1e9 - ours.started
    return took - ours.start_seconds - kills.last_model_seconds(lab.fake, subject)
