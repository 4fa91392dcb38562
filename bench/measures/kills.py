"""What the measures of kills share: runs of which every model call can be counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.bars import WrongAnswerError
from bench.events import Expected, Seen, check_run, count_disorder
from bench.lab import FakeModel, Lab
from bench.measures.history import CALL
from bench.ours import Orchestrator, agent
from bench.viewers import Viewer, Where

TOKENS = 200
GAP_MS = 20
MODEL_SECONDS = TOKENS * GAP_MS / 1000


@dataclass
class Subject:
    """A run that lives through a kill. With `turns`, as many turns with a tool come first."""

    name: str
    turns: int
    viewer: Viewer

    def check(self) -> None:
        """Check that the run is whole and says what its last attempt said.

        Raises:
            WrongAnswerError: it is not.
        """
        check_run(self.viewer.events, Expected(TOKENS, None, self.turns))


def start(api: Orchestrator, where: Where, names: Sequence[tuple[str, int]]) -> list[Subject]:
    """Start runs, each with an agent and a model of its own."""
    return [_start_one(api, where, name, turns) for name, turns in names]


def _start_one(api: Orchestrator, where: Where, name: str, turns: int) -> Subject:
    tools = ["calculator"] if turns else []
    api.register(agent(name, model=f"openai/{name}", tools=tools))
    marks = f"{CALL} [[tool_turns={turns}]]" if turns else ""
    prompt = f"[[tokens={TOKENS} gap_ms={GAP_MS} clock]] {marks}"
    run_id = api.ask("POST", "/v1/runs", {"input": prompt, "agent_id": name})["run_id"]
    return Subject(name, turns, Viewer(where, run_id))


def repeated_steps(fake: FakeModel, subjects: Sequence[Subject]) -> int:
    """Return how many completed model calls and tool calls were made again.

    Raises:
        WrongAnswerError: an interrupted call was made more than twice, or not at all.
    """
    calls = Counter((entry["model"], entry["messages"]) for entry in fake.requests())
    repeated = 0
    for subject in subjects:
        counts = [calls[subject.name, 1 + 2 * turn] for turn in range(subject.turns + 1)]
        if not 1 <= counts[-1] <= 2:
            raise WrongAnswerError(f"{subject.name}: the last call was made {counts[-1]} times")
        repeated += sum(count - 1 for count in counts[:-1])
        repeated += sum(count - 1 for count in _results(subject.viewer.events).values())
    return repeated


def _results(events: Sequence[Seen]) -> Counter[str]:
    return Counter(
        event.data["tool_call_id"] for event in events if event.type == "tool_dispatched"
    )


def disorder(subjects: Sequence[Subject]) -> int:
    """Return how many events viewers missed, or saw doubled or out of order."""
    return sum(count_disorder(subject.viewer.events) for subject in subjects)


def last_model_seconds(fake: FakeModel, subject: Subject) -> float:
    """Return how long the model took for the run's last call."""
    last = [entry for entry in fake.requests() if entry["model"] == subject.name][-1]
    return float(last["ended_ns"] - last["at_ns"]) / 1e9


def fresh(lab: Lab, prefix: str, number: int, plan: Sequence[int]) -> list[tuple[str, int]]:
    """Return names for the runs of one round, and their turns with a tool."""
    lab.fake.reset()
    return [(f"{prefix}-{number}-{at}", turns) for at, turns in enumerate(plan)]
