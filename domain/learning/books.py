"""The promises of the store about what was learned. Contract-tested over every implementation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from domain.acceptance import Page
from domain.bounds import PriceOverride
from domain.errors import NotFoundError
from domain.learning.feedback import Feedback, FeedbackFilter
from domain.learning.lessons import RunFacts
from domain.tiers import ModelTier


@dataclass(frozen=True, slots=True)
class Remembered:
    """A part of what was learned, as it is stored."""

    state: str
    revision: int
    """Grows by one with each change; 0 where nothing is stored."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a run, and what its budgets besides the agent's are."""

    owner: str
    session_id: str | None = None
    goal_id: str | None = None
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an owner's agents stand now, by agent."""

    open_runs: Mapping[str, int] = field(default_factory=dict)
    budget_used: Mapping[str, float] = field(default_factory=dict)
    """Share of an agent's own budget that is held or spent; of one of nothing, all."""
    spent: float = 0.0
    """The same of the asker's budgets: the owner's over everything, the session's, goal's, key's;
    the one that is nearest to its end."""
    pinned: str | None = None
    """The agent that the owner wants for every run that names none."""
    left: Mapping[str, int] = field(default_factory=dict)
    """Picodollars that are not spent of an agent's own budgets that stop its runs, the least."""
    prices: Mapping[str, PriceOverride] = field(default_factory=dict)
    """By model, what was said over the API; read only where something is `left`."""
    open_models: frozenset[str] = frozenset()
    """Models whose circuit is open."""
    probing_models: frozenset[str] = frozenset()
    """Models whose circuit is half-open, while one call tries."""


RECENT_MESSAGES = 3
"""Messages of a session that its next choice looks at."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The last turns of a session."""

    recent: tuple[str, ...] = ()
    """Beginnings of the last messages, the newest last, without what strangers wrote."""
    agent_id: str | None = None
    """Whose turn the last one was."""
    is_disliked: bool = False
    """Whether the last that was said of its run is a rating below 0."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a session has come: its highest tier, and when its last run began (ms)."""

    tier: ModelTier | None = None
    at: int = 0
    messages: int = 0
    """How many messages it holds."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is to be written at once: changed parts, runs taken in, and who said what."""

    parts: Mapping[str, Remembered] = field(default_factory=dict)
    """By name: the new state, and the revision that it was made from."""
    runs: Mapping[str, float | None] = field(default_factory=dict)
    """By run: its utility, None where its end taught nothing."""
    feedback: Feedback | None = None


class LearnBook(Protocol):
    """What was learned, by owner, and what can still teach."""

    async def revisions(self, owner: str) -> Mapping[str, int]:
        """Return the revision of each part that is stored."""
        ...

    async def load(self, owner: str, names: Sequence[str]) -> Mapping[str, Remembered]:
        """Return the parts that are stored under these names."""
        ...

    async def keep(self, owner: str, learnt: Learnt) -> bool:
        """Write all of it, or nothing where a part is no longer at the revision named.

        Returns whether it was written.
        """
        ...

    async def standing(self, asker: Asker) -> Standing:
        """Return how the owner's agents stand now, for whoever asks."""
        ...

    async def turns(self, owner: str, session_id: str) -> Turns:
        """Return the last turns of a session; nothing of one that is not there."""
        ...

    async def reached(self, owner: str, session_id: str) -> Reached:
        """Return how far a session has come."""
        ...

    async def facts(self, owner: str | None, run_id: str, by: str) -> RunFacts:
        """Return what a run can teach; `is_rated` when `by` rated it before.

        Raises:
            NotFoundError: no such run for this owner.
        """
        ...

    async def ended(self, owner: str, limit: int) -> Sequence[RunFacts]:
        """Return runs that something was chosen for, that have ended and are not taken in yet."""
        ...

    async def list_feedback(
        self, owner: str | None, which: FeedbackFilter, page: Page
    ) -> tuple[Sequence[Feedback], str | None]:
        """Return feedback, newest first, and the cursor of the next page or None."""
        ...


class NothingLearned:
    """The book of a process that keeps none: every agent is as good as its card."""

    async def revisions(self, owner: str) -> Mapping[str, int]:  # noqa: ARG002 - the port's shape
        """Return that nothing is stored."""
        return {}

    async def load(self, owner: str, names: Sequence[str]) -> Mapping[str, Remembered]:  # noqa: ARG002 - the port's shape
        """Return nothing."""
        return {}

    async def keep(self, owner: str, learnt: Learnt) -> bool:  # noqa: ARG002 - the port's shape
        """Keep nothing."""
        return True

    async def standing(self, asker: Asker) -> Standing:  # noqa: ARG002 - the port's shape
        """Return that nobody is busy."""
        return Standing()

    async def turns(self, owner: str, session_id: str) -> Turns:  # noqa: ARG002 - the port's shape
        """Return that every session is new."""
        return Turns()

    async def reached(self, owner: str, session_id: str) -> Reached:  # noqa: ARG002 - the port's shape
        """Return that every session is new."""
        return Reached()

    async def facts(self, owner: str | None, run_id: str, by: str) -> RunFacts:  # noqa: ARG002 - the port's shape
        """Know no run."""
        raise NotFoundError(f"there is no run {run_id}")

    async def ended(self, owner: str, limit: int) -> Sequence[RunFacts]:  # noqa: ARG002 - the port's shape
        """Return no run."""
        return ()

    async def list_feedback(
        self,
        owner: str | None,  # noqa: ARG002 - the port's shape
        which: FeedbackFilter,  # noqa: ARG002 - the port's shape
        page: Page,  # noqa: ARG002 - the port's shape
    ) -> tuple[Sequence[Feedback], str | None]:
        """Return no feedback."""
        return (), None
