"""Every fake of one app, and a configuration for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from api.ports import ApiConfig, ApiPorts, ProxyPorts, RateConfig, StreamConfig
from domain.acceptance import NewRun
from domain.agent import Agent, AgentKind, Limits
from domain.auth import MintedKey, mint_key
from domain.intake import IntakePorts, IntakeSettings
from domain.learning.learning import Learning
from domain.learning.pins import Pin
from domain.principal import LOCAL_OWNER, ApiKey, Scope
from domain.run import RunKind, RunSpec
from domain.tiers import FixedTiers, ModelTier
from tests.fakes.addresses import FakeAddresses
from tests.fakes.approvals import FakeApprovals
from tests.fakes.clients import FakeClients
from tests.fakes.clock import NOW, FakeClock, FakeIds
from tests.fakes.deadletters import FakeLetters
from tests.fakes.directory import FakeDirectory
from tests.fakes.events import FakeEvents
from tests.fakes.figures import FakeFigures
from tests.fakes.forks import FakeForks
from tests.fakes.gateway import FakeGateway
from tests.fakes.health import FakeHealth
from tests.fakes.keys import FakeKeys
from tests.fakes.learning import FakeLearnBook
from tests.fakes.logs import FakeLogs
from tests.fakes.models import FakeModels
from tests.fakes.money import (
    FakeBudgets,
    FakeCosts,
    FakeGoals,
    FakeModelHealth,
    FakePriceBook,
)
from tests.fakes.pins import FakePins
from tests.fakes.proxy import FakeCalls, FakePrices, FakeRaw
from tests.fakes.runs import FakeRuns
from tests.fakes.schedules import FakeScheduler, FakeSchedules
from tests.fakes.tools import WIRE, FakeTools
from tests.fakes.trees import FakeTrees
from tests.fakes.workers import FakeWorkers


@dataclass
class World:
    """Every fake of one app."""

    clock: FakeClock = field(default_factory=FakeClock)
    ids: FakeIds = field(default_factory=FakeIds)
    keys: FakeKeys = field(default_factory=FakeKeys)
    logs: FakeLogs = field(default_factory=FakeLogs)
    trouble: str | None = None
    stuck: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.events = FakeEvents(self.clock)
        self.directory = FakeDirectory(self.clock)
        self.runs = FakeRuns(self.clock, self.events, self.directory)
        self.approvals = FakeApprovals(self.clock)
        self.clients = FakeClients()
        self.letters = FakeLetters()
        self.goals = FakeGoals()
        self.budgets = FakeBudgets()
        self.prices = FakePriceBook()
        self.costs = FakeCosts()
        self.model_health = FakeModelHealth()
        self.schedules = FakeSchedules()
        self.scheduler = FakeScheduler()
        self.gateway = FakeGateway(self.runs)
        self.health = FakeHealth(self.directory, self.clock)
        self.calls = FakeCalls()
        self.raw = FakeRaw()
        self.tiers: dict[ModelTier, tuple[str, ...]] = {}
        self.pins = FakePins()
        self.learned = FakeLearnBook(self.runs, self.pins)
        self.learning = Learning(self.learned, self.clock)
        self.add_agent("assistant", description="general help with anything")

    def add_agent(self, agent_id: str, owner: str | None = None, **fields: Any) -> Agent:
        """Put an agent into the directory."""
        values: dict[str, Any] = {"kind": AgentKind.LLM, "name": agent_id.title(), **fields}
        agent = Agent(agent_id=agent_id, owner=owner, created_at=NOW, updated_at=NOW, **values)
        self.directory.agents[owner, agent_id] = agent
        return agent

    def add_key(self, *scopes: Scope, owner: str = LOCAL_OWNER, **fields: int) -> str:
        """Make a key and return its secret."""
        number = len(self.keys.by_digest) + 1
        minted: MintedKey = mint_key(bytes([number]) * 32)
        key = ApiKey(
            key_id=f"key_{number}",
            owner=owner,
            name=f"key {number}",
            prefix=minted.prefix,
            scopes=scopes or (Scope.ADMIN,),
            created_at=NOW,
            expires_at=fields.get("expires_at"),
            revoked_at=fields.get("revoked_at"),
        )
        self.keys.by_digest[minted.digest] = key
        return minted.secret

    async def furnish(self) -> None:
        """Put in place what the examples of the OpenAPI document name."""
        spec = RunSpec(tools=(WIRE,))
        for run_id, kind in (("run_01k9", RunKind.AGENT), ("run_02k9", RunKind.TOOL)):
            is_tool = kind is RunKind.TOOL
            await self.runs.accept(
                NewRun(
                    run_id=run_id,
                    owner=LOCAL_OWNER,
                    kind=kind,
                    spec=spec,
                    agent_id=None if is_tool else "assistant",
                    session_id=None if is_tool else "sess_01k9",
                    message_id="msg_01k9",
                    content="What is 6 * 7?",
                    max_open_runs=100,
                    tool_call_id="tc_01k9" if is_tool else None,
                )
            )
            await self.gateway.start(self.runs.runs[run_id], RunSpec(kind=kind), queued=False)
        self.approvals.ask(self.runs.calls["tc_01k9"])
        self.clients.ask(self.runs.calls["tc_01k9"])
        self.letters.put(self.runs.runs["run_01k9"])
        self.schedules.furnish()
        self.goals.furnish()
        self.budgets.furnish()
        await self.pins.put_pin(Pin(LOCAL_OWNER, "assistant", "local", NOW))
        minted = mint_key(b"k" * 32)
        key = ApiKey(
            key_id="key_01k9",
            owner=LOCAL_OWNER,
            name="example",
            prefix=minted.prefix,
            scopes=(Scope.READ,),
            created_at=NOW,
            expires_at=None,
            revoked_at=None,
        )
        self.keys.by_digest[minted.digest] = key

    async def stuck_runs(self) -> Sequence[str]:
        """Return the runs that a reconciler noted."""
        return self.stuck

    async def check_store(self) -> str | None:
        """Answer the store's check."""
        return self.trouble

    def ports(self) -> ApiPorts:
        """Return the ports over these fakes."""
        return ApiPorts(
            intake=IntakePorts(
                runs=self.runs,
                directory=self.directory,
                toolbox=FakeTools(),
                models=FakeModels(),
                gateway=self.gateway,
                ids=self.ids,
                hosted=self.clients,
                health=self.health,
                learning=self.learning,
                router=FixedTiers(self.tiers, ("offline/echo",)),
                prices=FakePrices(),
            ),
            proxy=ProxyPorts(
                raw=self.raw,
                calls=self.calls,
                prices=FakePrices(),
                router=FixedTiers(self.tiers, ("offline/echo",)),
            ),
            events=self.events,
            trees=FakeTrees(self.events, self.runs),
            approvals=self.approvals,
            clients=self.clients,
            forks=FakeForks(self.runs.runs, self.runs.specs),
            dead_letters=self.letters,
            goals=self.goals,
            budgets=self.budgets,
            prices=self.prices,
            costs=self.costs,
            figures=FakeFigures(self.runs, self.directory),
            schedules=self.schedules,
            scheduler=self.scheduler,
            keys=self.keys,
            agent_health=self.health,
            pins=self.pins,
            model_health=self.model_health,
            clock=self.clock,
            workers=FakeWorkers(),
            logs=self.logs,
            addresses=FakeAddresses(),
            checks={"store": self.check_store},
            stuck=self.stuck_runs,
        )


def fake_config(**changes: Any) -> ApiConfig:
    """Return a configuration for tests; keyword arguments replace fields of `ApiConfig`."""
    values: dict[str, Any] = {
        "intake": IntakeSettings(
            default_limits=Limits(max_turns=50, max_cost_usd="1.00"),
            default_models=("offline/echo",),
            max_open_runs=100,
        ),
        "open_without_keys": True,
        "stream": StreamConfig(),
        "rate": RateConfig(),
    }
    return ApiConfig(**{**values, **changes})
