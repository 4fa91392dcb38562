"""600 turns with a tool: whether the later ones leave or take more than the early ones."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

from bench.bars import Figure, WrongAnswerError
from bench.events import Expected, Seen, check_run, events_of
from bench.lab import Lab
from bench.measures.history import CALL, Entry, histories
from bench.ours import Orchestrator, run_id_of, start_request

CONTINUED = "workflow_execution_continued_as_new_event_attributes"


@dataclass(frozen=True, slots=True)
class Span:
    """Turns from `first` up to, not including, `end`."""

    first: int
    end: int

    @property
    def turns(self) -> int:
        """Return how many turns these are."""
        return self.end - self.first


@dataclass
class _Watcher:
    """Looks at the size of our database as the turns that matter begin."""

    ours: Orchestrator
    turns: Sequence[int]
    sizes: dict[int, int] = field(default_factory=dict)

    def __call__(self, piece: bytes) -> bool:
        for turn in self.turns:
            if turn not in self.sizes and _begins(turn) in piece:
                self.sizes[turn] = used_bytes(self.ours)
        return False


def _begins(turn: int) -> bytes:
    return b'"type":"llm_call_started","data":{"step":"llm-%d-1"' % turn


def used_bytes(ours: Orchestrator) -> int:
    """Return the bytes that our database uses, free pages left out."""
    file = ours.data_dir / "orchestrator.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as reader:
        pages, free, size = (
            int(reader.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def measure(lab: Lab) -> list[Figure]:
    """Do one long run and compare its late turns with its early ones."""
    turns, early, late = (600, Span(1, 201), Span(401, 601))
    if lab.quick:
        turns, early, late = (120, Span(1, 41), Span(81, 121))
    watcher = _Watcher(lab.ours, (early.first, early.end, late.first, late.end))
    with lab.ours.connect() as api:
        request = start_request(f"[[tokens=5]] {CALL} [[tool_turns={turns}]]", "tool")
        reply = api.send(request, watcher)
    events = events_of(reply)
    check_run(events, Expected(5, turns + 1, turns))
    runs = histories(lab, run_id_of(reply))
    continued = sum(entry.kind == CONTINUED for entry in chain(*runs))
    if not continued and not lab.quick:
        raise WrongAnswerError("the run was never continued as new")
    note = f"{turns} turns, {sum(map(len, runs))} history events, continued as new {continued}x"
    places = _places(list(chain(*runs)))
    sizes = [0, *_running_total(list(chain(*runs)))]
    history = {turn: sizes[place] for turn, place in places.items()}
    return [
        _figure("growth_history", history, early, late, "B", note),
        _figure("growth_store", watcher.sizes, early, late, "B", ""),
        _figure("growth_time", _times(events), early, late, "ms", ""),
    ]


def _figure(
    bar: str, at: Mapping[int, float], early: Span, late: Span, unit: str, note: str
) -> Figure:
    """Return the ratio of what a late turn takes to what an early one takes."""
    now, then = ((at[span.end] - at[span.first]) / span.turns for span in (late, early))
    return Figure(bar, now / then, f"{now:.4g} {unit}", f"{then:.4g} {unit}", note=note)


def _places(entries: Sequence[Entry]) -> dict[int, int]:
    """Return at which event each turn begins: where its model call is scheduled."""
    return {
        int(entry.activity_id.split("-")[1]): place
        for place, entry in enumerate(entries)
        if entry.activity_id.startswith("llm-")
    }


def _running_total(entries: Sequence[Entry]) -> list[int]:
    total, totals = 0, []
    for entry in entries:
        total += entry.size
        totals.append(total)
    return totals


def _times(events: Sequence[Seen]) -> dict[int, float]:
    return {
        int(event.data["step"].split("-")[1]): event.at_ns / 1e6
        for event in events
        if event.type == "llm_call_started"
    }
