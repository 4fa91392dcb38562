"""How runs of agents went: utilities and costs per agent and class of task, newest first in weight.

Knows numbers only; what a utility is, its caller says (0..1, never guessed from silence).
"""

from collections.abc import Iterable
from functools import cached_property, reduce

from pydantic import BaseModel, ConfigDict, Field

HALF_LIFE_RUNS = 500
_KEEP = 0.5 ** (1 / HALF_LIFE_RUNS)
PRIOR = 4.0
"""Runs that the broader mean counts for: an agent's in a class, everybody's in an agent's."""
UNKNOWN = 0.5
"""The mean of those of whom nothing is known."""
_MOST_COSTS = 200
_REFERENCE = 0.9
"""The quantile of recent costs that others are compared with."""
MOST_CLASSES = 50
"""Classes of one agent that are kept; what was not used for longest goes."""


class Cell(BaseModel):
    """What an agent did in one class: decayed sums."""

    model_config = ConfigDict(frozen=True)

    runs: float = 0.0
    """Each counts as much as its utility is known."""
    total: float = 0.0
    """Of utilities."""
    priced: float = 0.0
    """Runs whose cost is known."""
    cost: float = 0.0
    """Of costs, USD."""

    def after(self, utility: float, cost: float | None, weight: float = 1.0) -> "Cell":
        """Return the cell with one run more and the earlier ones a little faded."""
        return Cell(
            runs=self.runs * _KEEP + weight,
            total=self.total * _KEEP + weight * utility,
            priced=self.priced * _KEEP + (cost is not None),
            cost=self.cost * _KEEP + (cost or 0.0),
        )

    def plus(self, other: "Cell") -> "Cell":
        """Return both together."""
        return Cell(
            runs=self.runs + other.runs,
            total=self.total + other.total,
            priced=self.priced + other.priced,
            cost=self.cost + other.cost,
        )


class Performance(BaseModel):
    """Every agent's cells, by agent and class."""

    model_config = ConfigDict(frozen=True)

    cells: dict[str, dict[str, Cell]] = Field(default_factory=dict)
    costs: tuple[float, ...] = ()
    """Of the last runs, whichever agent did them."""

    def after(
        self,
        agent_id: str,
        task_class: str,
        utility: float,
        cost: float | None = None,
        weight: float = 1.0,
    ) -> "Performance":
        """Return what is known after one more run.

        `utility` is held to 0..1; `weight` says how well it is known.
        """
        held = min(1.0, max(0.0, utility))
        mine = dict(self.cells.get(agent_id, {}))
        cell = mine.pop(task_class, Cell()).after(held, cost, weight)
        kept = dict([*mine.items()][-MOST_CLASSES + 1 :])
        costs = self.costs if cost is None else (*self.costs, cost)[-_MOST_COSTS:]
        cells = {**self.cells, agent_id: {**kept, task_class: cell}}
        return Performance(cells=cells, costs=costs)

    def quality(self, agent_id: str, task_class: str) -> float:
        """Return the expected utility of a run, shrunk to the agent's mean."""
        cell = self.cells.get(agent_id, {}).get(task_class, Cell())
        return (cell.total + PRIOR * self.mean_of(agent_id)) / (cell.runs + PRIOR)

    def mean_of(self, agent_id: str) -> float:
        """Return an agent's mean utility, shrunk to everybody's."""
        cell = self.agents.get(agent_id, Cell())
        return (cell.total + PRIOR * self.mean) / (cell.runs + PRIOR)

    def cost(self, agent_id: str, task_class: str) -> float:
        """Return the expected cost of a run, USD: of the class, else the agent, else everybody."""
        cell = self.cells.get(agent_id, {}).get(task_class, Cell())
        whole = self.agents.get(agent_id, Cell())
        usual = (whole.cost + PRIOR * self.usual_cost) / (whole.priced + PRIOR)
        return (cell.cost + PRIOR * usual) / (cell.priced + PRIOR)

    @cached_property
    def reference(self) -> float:
        """The cost that others are compared with: high, but not the worst. 0: none is known."""
        ordered = sorted(self.costs)
        return ordered[min(len(ordered) - 1, int(_REFERENCE * len(ordered)))] if ordered else 0.0

    @cached_property
    def usual_cost(self) -> float:
        """The mean of recent costs, USD."""
        return sum(self.costs) / len(self.costs) if self.costs else 0.0

    @cached_property
    def agents(self) -> dict[str, Cell]:
        """Every agent's classes together."""
        return {agent_id: _together(mine.values()) for agent_id, mine in self.cells.items()}

    @cached_property
    def mean(self) -> float:
        """Everybody's mean utility, shrunk to that of the unknown."""
        whole = _together(self.agents.values())
        return (whole.total + PRIOR * UNKNOWN) / (whole.runs + PRIOR)


def _together(cells: Iterable[Cell]) -> Cell:
    return reduce(Cell.plus, cells, Cell())
