"""What model calls did cost: sums over the ledger. Knows nothing of prices or caps."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from domain.acceptance import Page
from domain.money import to_usd


class CostBy(StrEnum):
    """What sums are for."""

    MODEL = "model"
    AGENT = "agent"
    SESSION = "session"
    GOAL = "goal"
    KEY = "key"
    DAY = "day"
    """A day in UTC, as `2026-11-20`."""
    RUN = "run"
    TREE = "tree"
    """A run with all below it, by the id of the topmost."""


@dataclass(frozen=True, slots=True)
class CostFilter:
    """Which calls count; None does not filter. Times in ms, `until_ms` is not included.

    A goal stands for the goals below it too.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    run_id: str | None = None
    root_run_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    goal_id: str | None = None
    key_id: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class CostLine:
    """The sum over some calls. `key` is None for those that have no such thing, as a goal.

    `estimated_pico`, a part of `priced_pico`, is what calls were billed whose usage never arrived.
    """

    key: str | None
    calls: int = 0
    failed_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    priced_pico: int = 0
    unpriced_calls: int = 0
    estimated_pico: int = 0
    last_at: int | None = None
    """When the last of the calls ended, in ms."""

    @property
    def cost_usd(self) -> str | None:
        """Return what all of it cost, None when that is not known of one call."""
        return None if self.unpriced_calls else to_usd(self.priced_pico)


@dataclass(frozen=True, slots=True)
class CostReport:
    """Sums, the dearest first (days: the last first), and what they come to together."""

    lines: Sequence[CostLine]
    total: CostLine
    unpriced: Sequence[tuple[str, int]]
    """Models of which nobody knows the price, with how many calls."""
    cursor: str | None = None


class CostBook(Protocol):
    """The ledger, to look at. `owner` None means any owner."""

    async def costs(
        self, owner: str | None, by: CostBy, which: CostFilter, page: Page
    ) -> CostReport:
        """Return a page of sums; its total is over all pages."""
        ...
