"""What a choice is made of: the request, and how each agent stands now. Values only."""

from dataclasses import dataclass

from domain.choosing.cards import Card

HIGH_PRIORITY = 2
"""Priorities up to this one are never used to try something out; 1 comes first."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that names no agent."""

    request_id: str
    text: str
    user: str = ""
    recent: tuple[str, ...] = ()
    """The last messages of the session, the newest last; three count."""
    tools: frozenset[str] = frozenset()
    """Tools that the work needs."""
    brings_tools: bool = False
    """Whether it brings tools along that its agent is to call."""
    attachments: frozenset[str] = frozenset()
    """Types of what is attached, such as `image/png`."""
    task_class: str = ""
    priority: int = 3
    budget_used: float = 0.0
    """Share of the asker's budget that is held or spent, 0..1."""
    pinned: str | None = None
    """The agent that does whatever names none."""
    last_agent: str | None = None
    """The agent of the session's last turn."""
    last_disliked: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """One agent as it stands now."""

    card: Card
    tools: frozenset[str] = frozenset()
    attachments: frozenset[str] = frozenset()
    """Types of attachments that it takes."""
    takes_tools: bool = True
    """Whether it calls tools that a request brings along."""
    is_healthy: bool = True
    is_open: bool = False
    """Its circuit breaker is open, or those of all its models are."""
    is_probing: bool = False
    """Nothing else of it takes calls, and of a half-open circuit the one probe is under way."""
    is_reachable: bool = True
    """Some model of it can be asked: its provider is configured."""
    is_quarantined: bool = False
    can_pay: bool = True
    """What a run of it may cost can be reserved."""
    queue: int = 0
    """Runs that it has open."""
    queue_limit: int = 100
    budget_used: float = 0.0
    """Share of its own budget that is held or spent, 0..1."""

    @property
    def agent_id(self) -> str:
        """The agent's id."""
        return self.card.agent_id

    @property
    def load(self) -> float:
        """Share of its queue that is taken, 0..1."""
        return min(1.0, self.queue / self.queue_limit) if self.queue_limit > 0 else 1.0
