"""The `RunBook` over a database: each method is one transaction."""

from collections.abc import Sequence

from adapters.store.approvals import toolcalls
from adapters.store.children import asking, family
from adapters.store.children.familybook import unstarted_from
from adapters.store.database.commits import Commits, CrashPoint, no_crash
from adapters.store.database.tx import Engine, Tx
from adapters.store.runs import accept, cancelling, reads
from domain.acceptance import Accepted, NewRun, Page, RunFilter
from domain.family import Unstarted
from domain.ports import Clock
from domain.run import Run
from domain.stats import RunStats
from domain.tool import ToolCall, Verdict


class SqlRunBook:
    """Runs on record. Source of every promise: `domain.records.RunBook`."""

    def __init__(self, engine: Engine, clock: Clock, crash: CrashPoint = no_crash) -> None:
        self._engine = engine
        self._clock = clock
        self._commit = Commits(engine, crash)

    async def accept(self, new: NewRun) -> Accepted:
        """Make a run durable."""
        now = self._clock.now_ms()
        return await self._commit("accept", lambda tx: accept.accept(tx, new, now))

    async def accept_child(self, new: NewRun) -> Accepted:
        """Make the child of a run durable."""
        now = self._clock.now_ms()
        return await self._commit("accept_child", lambda tx: asking.ask(tx, new, now))

    async def get_run(self, owner: str | None, run_id: str) -> Run:
        """Return one run."""
        return await self._engine.look_up(lambda tx: reads.get_run(tx, owner, run_id))

    async def list_runs(
        self, owner: str | None, which: RunFilter, page: Page
    ) -> tuple[Sequence[Run], str | None]:
        """Return runs, newest first, and the next cursor."""
        return await self._engine.read(lambda tx: reads.list_runs(tx, owner, which, page))

    async def ask_cancel(self, owner: str | None, run_id: str, reason: str | None) -> Run:
        """Record that a run is to stop."""
        now = self._clock.now_ms()
        return await self._commit(
            "ask_cancel", lambda tx: cancelling.ask_cancel(tx, owner, run_id, reason, now)
        )

    async def to_stop(self, run_id: str) -> Sequence[Unstarted]:
        """Return the runs below one that were asked to stop and have not ended."""
        rows = await self._engine.read(lambda tx: family.to_stop(tx, run_id))
        return [unstarted_from(row) for row in rows]

    async def get_tool_call(self, owner: str | None, tool_call_id: str) -> ToolCall:
        """Return one tool call."""
        return await self._engine.read(lambda tx: reads.get_tool_call(tx, owner, tool_call_id))

    async def list_tool_calls(
        self, owner: str | None, run_id: str | None, status: str | None, page: Page
    ) -> tuple[Sequence[ToolCall], str | None]:
        """Return tool calls, newest first, and the next cursor."""
        return await self._engine.read(
            lambda tx: reads.list_tool_calls(tx, owner, run_id, status, page)
        )

    async def resolve_tool_call(self, owner: str | None, tool_call_id: str, said: Verdict) -> Run:
        """Record what a person says of an unknown outcome."""
        now = self._clock.now_ms()

        def resolve(tx: Tx) -> Run:
            found = toolcalls.resolve(tx, owner, tool_call_id, said, now)
            return reads.get_run(tx, None, found["run_id"])

        return await self._commit("resolve", resolve)

    async def stats(self, owner: str | None) -> RunStats:
        """Return figures over the runs on record."""
        return await self._engine.read(lambda tx: reads.read_stats(tx, owner))
