"""Opens the store that the settings name and gives every port that stands on it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.store.approvals.approvalbook import SqlApprovalBook
from adapters.store.children.familybook import SqlFamilyBook
from adapters.store.clients.clientbook import SqlClientBook
from adapters.store.clock.pushes import SqlPushBook
from adapters.store.clock.schedulebook import SqlScheduleBook
from adapters.store.database.sqlite import SqliteEngine
from adapters.store.database.urls import Database, SqliteFile, parse_database_url
from adapters.store.forks.deadletters import SqlDeadLetters
from adapters.store.forks.forkbook import SqlForkBook
from adapters.store.learning.learnbook import SqlLearnBook
from adapters.store.learning.pins import SqlPinBook
from adapters.store.log.eventlog import SqlEventLog, watch_other_processes
from adapters.store.log.hub import Hub
from adapters.store.log.treelog import SqlTreeLog
from adapters.store.money.budgetbook import SqlBudgetBook
from adapters.store.money.costs import SqlCostBook
from adapters.store.money.goalbook import SqlGoalBook
from adapters.store.money.prices import SqlPriceBook
from adapters.store.registry.agenthealth import SqlAgentHealth
from adapters.store.registry.directory import SqlDirectory
from adapters.store.registry.keyring import SqlKeyRing
from adapters.store.runs.figures import SqlFigureBook
from adapters.store.runs.runbook import SqlRunBook
from adapters.store.runs.upkeep import SqlUpkeep
from adapters.store.schema.migrate import upgrade
from adapters.store.spending.callbook import SqlCallBook
from adapters.store.steps.stepbook import SqlStepBook
from bootstrap.crash import crash_at
from bootstrap.identity import SystemClock
from bootstrap.settings import Settings
from domain.agenthealth import HealthRules
from domain.errors import StoreUnavailableError
from domain.learning.learning import Learning
from domain.spending import BreakerRules, SpendingRules
from domain.upkeep import STUCK_KEY, stuck_runs

if TYPE_CHECKING:
    from adapters.store.database.postgres import PostgresEngine

_log = logging.getLogger(__name__)

LISTEN_AGAIN_SECONDS = 1.0
APART_POLL_SECONDS = 0.02
"""Between two looks for what another process committed to the same SQLite file."""
SLOW_POLL_SECONDS = 30.0
"""The same on PostgreSQL, where every commit is announced."""
TOGETHER_POLL_SECONDS = 0.5
"""The same where API and worker are one process: only a second worker could commit elsewhere."""


@dataclass(frozen=True)
class Storage:
    """The store of one process, and what stands on it."""

    engine: "SqliteEngine | PostgresEngine"
    hub: Hub
    clock: SystemClock
    steps: SqlStepBook
    calls: SqlCallBook
    approvals: SqlApprovalBook
    clients: SqlClientBook
    runs: SqlRunBook
    forks: SqlForkBook
    dead_letters: SqlDeadLetters
    family: SqlFamilyBook
    directory: SqlDirectory
    agent_health: SqlAgentHealth
    keys: SqlKeyRing
    events: SqlEventLog
    trees: SqlTreeLog
    upkeep: SqlUpkeep
    schedules: SqlScheduleBook
    pushes: SqlPushBook
    goals: SqlGoalBook
    budgets: SqlBudgetBook
    prices: SqlPriceBook
    costs: SqlCostBook
    figures: SqlFigureBook
    learning: Learning
    pins: SqlPinBook

    async def watch(self, *, apart: bool) -> None:
        """Notice what other processes commit, until cancelled."""
        if isinstance(self.engine, SqliteEngine):
            seconds = APART_POLL_SECONDS if apart else TOGETHER_POLL_SECONDS
            await watch_other_processes(self.engine, self.hub, seconds)
        else:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen_forever(self.engine))
                # Whoever committed may have died before it could say so.
                tasks.create_task(watch_other_processes(self.engine, self.hub, SLOW_POLL_SECONDS))

    async def _listen_forever(self, engine: "PostgresEngine") -> None:
        """Hear of commits elsewhere; whenever hearing begins, look once at all that is watched."""

        def catch_up() -> None:
            for run_id in self.hub.watched():
                self.hub.notice(run_id)

        while True:
            try:
                await engine.listen(self.hub.notice, catch_up)
            except (StoreUnavailableError, OSError) as error:
                _log.warning("viewers may lag: %s", error)
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    async def check(self) -> str | None:
        """Return None when the database answers, else a sentence."""
        try:
            async with asyncio.timeout(2):
                await self.engine.read(lambda tx: tx.one("SELECT 1 AS one"))
        except (StoreUnavailableError, TimeoutError) as error:
            return f"the store does not answer: {error or 'timeout'}"
        return None

    async def check_workers(self) -> str | None:
        """Return None when a worker's lease is valid, else a sentence."""
        try:
            async with asyncio.timeout(2):
                leases = await self.upkeep.list_leases("worker:")
        except (StoreUnavailableError, TimeoutError):
            return "the store does not say which workers live"
        now = self.clock.now_ms()
        if any(lease.until_ms > now for lease in leases):
            return None
        return "no worker is alive; start one with `orchestrator worker`"

    async def stuck_runs(self) -> Sequence[str]:
        """Return the runs whose workflow task keeps failing, as the last pass noted them."""
        return stuck_runs(await self.upkeep.meta(STUCK_KEY))

    async def close(self) -> None:
        """Commit what waits and close the database."""
        await self.engine.close()


async def open_storage(settings: Settings, crash: Callable[[str], None] | None = None) -> Storage:
    """Bring the schema up to date and open the store.

    Raises:
        SetupError: the database URL is not understood, or its schema is newer than this release.
        StoreUnavailableError: the database does not answer.
    """
    database = parse_database_url(settings.database)
    if isinstance(database, SqliteFile):
        database.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    await asyncio.to_thread(upgrade, database)
    hub = Hub()
    engine = _engine(database, hub, settings)
    clock = SystemClock()
    hook = crash or crash_at(settings.crash_point)
    return Storage(
        engine=engine,
        hub=hub,
        clock=clock,
        steps=SqlStepBook(engine, clock, hook, spending_rules(settings)),
        calls=SqlCallBook(engine, clock, hook, spending_rules(settings)),
        approvals=SqlApprovalBook(engine, clock, hook),
        clients=SqlClientBook(engine, clock, hook),
        runs=SqlRunBook(engine, clock, hook),
        forks=SqlForkBook(engine),
        dead_letters=SqlDeadLetters(engine, clock, hook),
        family=SqlFamilyBook(engine, clock, hook),
        directory=SqlDirectory(engine, clock),
        agent_health=SqlAgentHealth(engine, clock, health_rules(settings)),
        keys=SqlKeyRing(engine),
        events=SqlEventLog(engine, hub),
        trees=SqlTreeLog(engine, hub),
        upkeep=SqlUpkeep(engine),
        schedules=SqlScheduleBook(engine, clock, hook),
        pushes=SqlPushBook(engine, clock),
        goals=SqlGoalBook(engine, clock),
        budgets=SqlBudgetBook(engine, clock),
        prices=SqlPriceBook(engine, clock),
        costs=SqlCostBook(engine),
        figures=SqlFigureBook(engine),
        learning=Learning(SqlLearnBook(engine, clock), clock),
        pins=SqlPinBook(engine),
    )


def health_rules(settings: Settings) -> HealthRules:
    """Return when an external agent counts as gone, and when its circuit opens."""
    return HealthRules(
        unseen_ms=int(settings.agent_unseen_seconds * 1000),
        failures=settings.agent_failures,
        cool_down_ms=int(settings.agent_cool_down_seconds * 1000),
        # Somewhat longer than the call that tries may take.
        probe_ms=settings.agent_timeout_ms + 10_000,
        fresh_ms=int(settings.agent_unseen_seconds * 1000 / 9),
    )


def spending_rules(settings: Settings) -> SpendingRules:
    """Return what the operator says of providers."""
    cooldown = int(settings.breaker_cooldown_seconds * 1000)
    return SpendingRules(
        BreakerRules(settings.breaker_failures, cooldown), dict(settings.rate_limits)
    )


def _engine(database: Database, hub: Hub, settings: Settings) -> "SqliteEngine | PostgresEngine":
    if isinstance(database, SqliteFile):
        engine = SqliteEngine(database.path, hub.publish, settings.busy_seconds)
        engine.start()
        return engine
    # SQLAlchemy takes half a second to import, and SQLite does not need it.
    from adapters.store.database.postgres import PostgresEngine  # noqa: PLC0415 - see above

    return PostgresEngine(database.url, hub.publish, settings.pool_size)
