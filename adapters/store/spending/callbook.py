"""The `CallBook` and the `ModelHealthBook` over a database: each method is one transaction."""

from collections.abc import Sequence
from functools import partial

from adapters.store.database.commits import Commits, CrashPoint, no_crash
from adapters.store.database.tx import Engine
from adapters.store.spending import calls, health
from domain.ports import Clock
from domain.spending import ModelHealth, NewCall, OpenedCall, SpendingRules
from domain.step import CallBill


class SqlCallBook:
    """Calls that are no steps, on record. Source of every promise: `domain.spending`."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        crash: CrashPoint = no_crash,
        rules: SpendingRules | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._commit = Commits(engine, crash)
        self._rules = rules or SpendingRules()

    async def open_call(self, call: NewCall) -> OpenedCall:
        """Hold what a call may cost at most."""
        now = self._clock.now_ms()
        return await self._commit.at_once(
            "open_call", lambda tx: calls.open_call(tx, call, self._rules, now)
        )

    async def close_call(self, call_id: str, bill: CallBill) -> None:
        """Enter what a call used and free what was held."""
        now = self._clock.now_ms()
        await self._commit(
            "close_call", lambda tx: calls.close_call(tx, call_id, bill, self._rules, now)
        )

    async def expire_calls(self) -> int:
        """Bill the calls that nobody closed in their time; return how many there were."""
        now = self._clock.now_ms()
        count = 0
        for hold_id in await self._engine.read(lambda tx: calls.overdue(tx, now)):
            count += await self._commit(
                "expire_call", partial(calls.expire, hold_id=hold_id, now=now)
            )
        return count

    async def model_health(self) -> Sequence[ModelHealth]:
        """Return every model of which anything was noted, by name."""
        now = self._clock.now_ms()
        return await self._engine.read(lambda tx: health.read_all(tx, now))
