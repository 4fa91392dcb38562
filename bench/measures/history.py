"""What a run leaves in Temporal's history: events of a model call and of a turn with a tool."""

from dataclasses import dataclass
from typing import Any

from bench.bars import Figure
from bench.events import Expected, check_run, events_of
from bench.lab import Lab
from bench.ours import run_id_of, start_request

CALL = '[[tool=calculator args={"expression":"6*7"}]]'


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of Temporal's history."""

    kind: str
    size: int
    activity_id: str


def histories(lab: Lab, run_id: str) -> list[list[Entry]]:
    """Return the history of a run, a list for each of Temporal's runs."""
    order = {"do": "history", "workflow_id": f"run-{run_id.removeprefix('run_')}"}
    found: list[list[list[Any]]] = lab.llm1.ask(order)["runs"]
    return [[Entry(*entry) for entry in events] for events in found]


def measure(lab: Lab) -> list[Figure]:
    """Count the events of runs with no, one and three turns with a tool."""
    none, one, three = (_count(lab, turns) for turns in (0, 1, 3))
    per_turn = (three - none) / 3
    return [
        Figure("history", none, str(none), ""),
        Figure("history_turn", per_turn, f"{none}, {one}, {three}", "", (one - none, per_turn)),
    ]


def _count(lab: Lab, turns: int) -> int:
    marks = f"{CALL} [[tool_turns={turns}]]" if turns else ""
    with lab.ours.connect() as api:
        reply = api.send(start_request(f"[[tokens=5]] {marks}", "tool"))
    check_run(events_of(reply), Expected(5, turns + 1, turns))
    return sum(len(events) for events in histories(lab, run_id_of(reply)))
