"""The choice of an agent: filters, six criteria, ties, doubt and a little curiosity, all explained.

Chance comes in as a number: the same request with the same luck is decided the same way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from domain.choosing.asking import HIGH_PRIORITY, Ask, Candidate
from domain.choosing.criteria import HOLDS, Known, Scores, exclusion, scores_of
from domain.choosing.specialty import Specialty

EXPLORED = 0.04
"""Share of the requests that go to another good agent, to learn of it."""
NEAR = 0.10
"""How far from the top an agent may be to be tried."""
TIE = 0.01
LEAST_TOP = 0.35
LEAST_MARGIN = 0.03
"""Below either the choice is in doubt and the generalist does the work."""
LEAST_MATCH = 0.05
"""What the request has to say for an agent, else the choice is in doubt too: how well it went
before, what it costs and who likes it say nothing of this request."""
_EVEN = 0.5
"""A match that all share alike says something above this only: what was learned divides what it
does not know evenly."""
MOST_SPENT = 0.8
"""Share of the budget beyond which nothing is tried out."""
SHOWN = 10
"""Agents whose scores are put on record, besides the chosen, the default and the pinned one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The agent that was chosen, why, and all that speaks for and against the others."""

    agent_id: str
    reason: str
    scores: dict[str, float]
    """Per agent the weighted sum, the best first."""
    criteria: Scores = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    explored: bool = False
    propensity: float = 1.0
    """How likely this agent was to be chosen, chance included."""
    named: tuple[str | None, ...] = ()
    """The default and the pinned agent: on record wherever they stand."""

    def as_route(self) -> dict[str, object]:
        """Return the data of `route_decided`."""
        shown = self._shown(self.scores)
        data: dict[str, object] = {
            "kind": "agent",
            "agent_id": self.agent_id,
            "reason": self.reason,
            "scores": {agent_id: round(self.scores[agent_id], 4) for agent_id in shown},
        }
        if self.criteria:
            data["criteria"] = {agent_id: _rounded(self.criteria[agent_id]) for agent_id in shown}
            data["weights"] = _rounded(self.weights)
            data["explored"] = self.explored
            data["propensity"] = round(self.propensity, 4)
        if self.excluded:
            data["excluded"] = {each: self.excluded[each] for each in self._shown(self.excluded)}
        return data

    def _shown(self, agent_ids: Iterable[str]) -> list[str]:
        """Return the first of them, and those that are shown wherever they stand."""
        always = {self.agent_id, *self.named}
        return [each for place, each in enumerate(agent_ids) if place < SHOWN or each in always]


def choose(
    ask: Ask,
    candidates: Sequence[Candidate],
    specialty: Specialty,
    known: Known,
    default: str | None = None,
    luck: float = 1.0,
) -> Choice | None:
    """Return the choice, or None when no agent can do the request.

    `luck` is an even draw from 0..1; the low end of it tries another agent out. In doubt the
    agent `default` is chosen if it can do the request, else the top.
    """
    excluded = _excluded(ask, candidates)
    able = [each for each in candidates if each.agent_id not in excluded]
    if not able:
        return None
    if ask.pinned is not None and any(each.agent_id == ask.pinned for each in able):
        return Choice(ask.pinned, f"{ask.pinned} is pinned", {ask.pinned: 1.0})
    criteria = scores_of(ask, able, specialty, known)
    totals = {agent_id: known.weights.total(each) for agent_id, each in criteria.items()}
    ranked = _ranked(ask, able, known, totals)
    agent_id, reason = _settled(ranked, totals, criteria, default)
    near = _tried(ask, ranked, totals, agent_id)
    chosen, explored = _drawn(near, agent_id, luck)
    return Choice(
        agent_id=chosen,
        reason=f"{chosen} is tried out; {agent_id} came first" if explored else reason,
        scores={each: totals[each] for each in ranked},
        criteria=criteria,
        weights=known.weights.named(),
        excluded=excluded,
        explored=explored,
        propensity=EXPLORED / len(near) if explored else 1.0 - (EXPLORED if near else 0.0),
        named=(default, ask.pinned),
    )


def _excluded(ask: Ask, candidates: Sequence[Candidate]) -> dict[str, str]:
    """Return who cannot do the request and why; first a pinned agent, which is looked for there."""
    found = {each.agent_id: why for each in candidates if (why := exclusion(ask, each))}
    if ask.pinned is None:
        return found
    if all(each.agent_id != ask.pinned for each in candidates):
        return {ask.pinned: "it is pinned, but there is no such active agent", **found}
    why = found.pop(ask.pinned, None)
    return {ask.pinned: f"it is pinned, but {why}", **found} if why else found


def _ranked(
    ask: Ask, able: Sequence[Candidate], known: Known, totals: dict[str, float]
) -> list[str]:
    """Return the agents, the best first; those that tie with the best by load, cost and chance."""
    best = max(totals.values())
    by_id = {each.agent_id: each for each in able}
    first = sorted(totals, key=lambda agent_id: -totals[agent_id])
    ties = [agent_id for agent_id in first if totals[agent_id] >= best - TIE]
    ties.sort(
        key=lambda agent_id: (
            by_id[agent_id].load,
            known.performance.cost(agent_id, ask.task_class),
            sha256(f"{ask.request_id} {agent_id}".encode()).digest(),
        )
    )
    return [*ties, *first[len(ties) :]]


def _settled(
    ranked: Sequence[str], totals: dict[str, float], criteria: Scores, default: str | None
) -> tuple[str, str]:
    """Return the agent and the reason, before chance has its say."""
    top = ranked[0]
    if len(ranked) == 1:
        return top, f"{top} is the only agent"
    values = sorted(totals.values(), reverse=True)
    is_clear = values[0] >= LEAST_TOP and values[0] - values[1] >= LEAST_MARGIN
    fits = {agent_id: each["specialty_match"] for agent_id, each in criteria.items()}
    # What tools add to the context is the same for all who can do it.
    is_meant = criteria[top]["context_relevance"] >= HOLDS + LEAST_MATCH or _matches(top, fits)
    if is_clear and is_meant:
        return top, f"{top} fits the request best"
    chosen = default if default in totals else top
    matched = any(_matches(agent_id, fits) for agent_id in fits)
    doubt = "no agent stands out" if matched else "no description matches the request"
    return chosen, f"{doubt}; {chosen} is next"


def _matches(agent_id: str, fits: dict[str, float]) -> bool:
    """Whether the request says something for an agent, and not the same little for everybody."""
    return fits[agent_id] > _EVEN or fits[agent_id] - min(fits.values()) >= LEAST_MATCH


def _tried(ask: Ask, ranked: Sequence[str], totals: dict[str, float], agent_id: str) -> list[str]:
    """Return the agents that chance may choose instead."""
    careful = ask.priority <= HIGH_PRIORITY or ask.budget_used > MOST_SPENT or ask.pinned
    if careful:
        return []
    best = totals[ranked[0]]
    return [each for each in ranked if totals[each] >= best - NEAR and each != agent_id]


def _drawn(near: Sequence[str], agent_id: str, luck: float) -> tuple[str, bool]:
    if not near or luck >= EXPLORED:
        return agent_id, False
    return near[int(luck / EXPLORED * len(near))], True


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
