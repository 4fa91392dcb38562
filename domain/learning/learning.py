"""Remembering and learning for many owners: what choices ask, and what outcomes and people change.

What was read is kept until somebody changed it, here or in another process; what is written was
made from what is stored, or is made again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from domain.acceptance import Page
from domain.choosing.cards import Card
from domain.choosing.specialty import Specialty
from domain.errors import StoreUnavailableError
from domain.learning.books import (
    Asker,
    LearnBook,
    Learnt,
    NothingLearned,
    Reached,
    Remembered,
    Standing,
    Turns,
)
from domain.learning.feedback import Feedback, FeedbackFilter, FeedbackStatus
from domain.learning.lessons import Lesson, of_end, of_rating, utility
from domain.learning.memory import Memory
from domain.ports import Clock

ABSORB_MS = 30_000
"""Between two looks for runs that have ended; a choice does not wait for what just happened."""
_MOST_AT_ONCE = 100
_TRIES = 10
"""Writes that may meet another process's before one is given up."""
_MOST_OWNERS = 100
"""Owners whose memory is held; whoever was asked for longest ago goes."""


@dataclass(slots=True)
class _Held:
    """One owner's memory as it was last read."""

    memory: Memory = field(default_factory=Memory)
    revisions: dict[str, int] = field(default_factory=dict)
    absorbed_at: int | None = None
    cards: tuple[Card, ...] = ()
    specialty: Specialty | None = None


class Learning:
    """The one place that reads and writes what was learned."""

    def __init__(self, book: LearnBook, clock: Clock) -> None:
        self._book = book
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._writing = asyncio.Lock()

    async def recall(self, owner: str) -> Memory:
        """Return what was learned, with the runs that ended until a moment ago."""
        held = self._hold(owner)
        now = self._clock.now_ms()
        if held.absorbed_at is None or now - held.absorbed_at >= ABSORB_MS:
            held.absorbed_at = now
            await self._absorb(owner)
        return await self._fresh(owner)

    def specialty(self, owner: str, cards: Sequence[Card]) -> Specialty:
        """Return the first criterion for these agents, with what was last recalled."""
        held = self._hold(owner)
        if held.specialty is None or held.cards != tuple(cards):
            held.cards = tuple(cards)
            held.specialty = Specialty(cards, held.memory.words)
        return held.specialty

    async def rate(self, owner: str | None, said: Feedback) -> Feedback:
        """Keep what a person said of a run, and learn from it.

        Whoever rates a run twice is heard twice and taught from once.

        Raises:
            NotFoundError: no such run for this owner.
            StoreUnavailableError: others kept writing in between; nothing was kept.
        """
        async with self._writing:
            for _ in range(_TRIES):
                facts = await self._book.facts(owner, said.run_id, said.by)
                kept = replace(said, owner=facts.owner, agent_id=facts.agent_id)
                lesson = None
                if facts.agent_id is not None and not facts.is_rated:
                    lesson = of_rating(facts, said.score, said.by)
                kept = replace(kept, status=_status(kept, lesson))
                if await self._write(facts.owner, [lesson] if lesson else [], {}, kept):
                    return kept
        raise StoreUnavailableError("what was learned keeps changing; send the feedback again")

    async def standing(self, asker: Asker) -> Standing:
        """Return how the owner's agents stand now, for whoever asks."""
        return await self._book.standing(asker)

    async def turns(self, owner: str, session_id: str) -> Turns:
        """Return the last turns of a session."""
        return await self._book.turns(owner, session_id)

    async def reached(self, owner: str, session_id: str) -> Reached:
        """Return how far a session has come."""
        return await self._book.reached(owner, session_id)

    async def list_feedback(
        self, owner: str | None, which: FeedbackFilter, page: Page
    ) -> tuple[Sequence[Feedback], str | None]:
        """Return feedback, newest first, and the cursor of the next page or None."""
        return await self._book.list_feedback(owner, which, page)

    async def _absorb(self, owner: str) -> None:
        """Take in the runs that have ended; what meets another's write is taken in next time."""
        async with self._writing:
            ended = await self._book.ended(owner, _MOST_AT_ONCE)
            if not ended:
                return
            lessons = [lesson for facts in ended if (lesson := of_end(facts)) is not None]
            taught_nothing: dict[str, float | None] = {facts.run_id: None for facts in ended}
            await self._write(owner, lessons, taught_nothing, None)

    async def _write(
        self,
        owner: str,
        lessons: Sequence[Lesson],
        runs: Mapping[str, float | None],
        said: Feedback | None,
    ) -> bool:
        before = after = await self._fresh(owner)
        worth = dict(runs)
        for lesson in lessons:
            reference = after.known.performance.reference
            worth[lesson.facts.run_id] = utility(lesson.quality, lesson.facts.cost_usd, reference)
            after = after.after(lesson)
        revisions = self._hold(owner).revisions
        parts = {
            name: Remembered(state, revisions.get(name, 0))
            for name, state in after.changed(before).items()
        }
        return await self._book.keep(owner, Learnt(parts, worth, said))

    async def _fresh(self, owner: str) -> Memory:
        """Return what is stored; only what changed is read again."""
        held = self._hold(owner)
        stored = await self._book.revisions(owner)
        stale = [name for name, revision in stored.items() if held.revisions.get(name) != revision]
        if stale:
            loaded = await self._book.load(owner, stale)
            held.memory = held.memory.with_parts(
                {name: part.state for name, part in loaded.items()}
            )
            held.revisions |= {name: part.revision for name, part in loaded.items()}
            held.specialty = None
        return held.memory

    def _hold(self, owner: str) -> _Held:
        held = self._held.pop(owner, None) or _Held()
        if len(self._held) >= _MOST_OWNERS:
            del self._held[next(iter(self._held))]
        self._held[owner] = held
        return held


def _status(said: Feedback, lesson: Lesson | None) -> FeedbackStatus:
    if said.improvement:
        return FeedbackStatus.PENDING
    return FeedbackStatus.KEPT if lesson is None else FeedbackStatus.LEARNED


class _NoTime:
    """The clock of whoever never looks again."""

    def now_ms(self) -> int:
        """Return the same moment always."""
        return 0


def nothing_learned() -> Learning:
    """Return the memory of a process that keeps none."""
    return Learning(NothingLearned(), _NoTime())
