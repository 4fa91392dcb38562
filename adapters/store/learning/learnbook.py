"""The `LearnBook` over a database: each method is one transaction."""

from collections.abc import Mapping, Sequence

from adapters.store.database.tx import Engine, Tx
from adapters.store.learning import choices, feedback, learned
from adapters.store.learning.standing import standing
from adapters.store.learning.turns import turns
from domain.acceptance import Page
from domain.learning.books import Asker, Learnt, Reached, Remembered, Standing, Turns
from domain.learning.feedback import Feedback, FeedbackFilter
from domain.learning.lessons import RunFacts
from domain.ports import Clock


class SqlLearnBook:
    """What was learned, on record. Source of every promise: `domain.learning.books.LearnBook`."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def revisions(self, owner: str) -> Mapping[str, int]:
        """Return the revision of each part."""
        return await self._engine.read(lambda tx: learned.revisions(tx, owner))

    async def load(self, owner: str, names: Sequence[str]) -> Mapping[str, Remembered]:
        """Return parts."""
        return await self._engine.read(lambda tx: learned.load(tx, owner, names))

    async def keep(self, owner: str, learnt: Learnt) -> bool:
        """Write all of it, or nothing."""
        now = self._clock.now_ms()

        def write(tx: Tx) -> None:
            learned.keep(tx, owner, learnt.parts, now)
            choices.take_in(tx, learnt.runs, now)
            if learnt.feedback is not None:
                feedback.put(tx, learnt.feedback, now)

        try:
            await self._engine.write(write)
        except learned.StalePartError:
            return False
        return True

    async def standing(self, asker: Asker) -> Standing:
        """Return how the owner's agents stand now."""
        now = self._clock.now_ms()
        return await self._engine.read(lambda tx: standing(tx, asker, now))

    async def turns(self, owner: str, session_id: str) -> Turns:
        """Return the last turns of a session."""
        return await self._engine.read(lambda tx: turns(tx, owner, session_id))

    async def reached(self, owner: str, session_id: str) -> Reached:
        """Return how far a session has come."""
        return await self._engine.read(lambda tx: choices.reached(tx, owner, session_id))

    async def facts(self, owner: str | None, run_id: str, by: str) -> RunFacts:
        """Return what a run can teach."""
        return await self._engine.read(lambda tx: choices.facts(tx, owner, run_id, by))

    async def ended(self, owner: str, limit: int) -> Sequence[RunFacts]:
        """Return runs that are not taken in yet."""
        return await self._engine.read(lambda tx: choices.ended(tx, owner, limit))

    async def list_feedback(
        self, owner: str | None, which: FeedbackFilter, page: Page
    ) -> tuple[Sequence[Feedback], str | None]:
        """Return feedback, newest first, and the next cursor."""
        return await self._engine.read(lambda tx: feedback.list_feedback(tx, owner, which, page))
