"""What the HTTP API is made of: the ports it speaks to and how it is configured."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.agenthealth import HealthBook
from domain.budget import BudgetBook
from domain.clients import ClientBook
from domain.costs import CostBook
from domain.deadletter import DeadLetterBook
from domain.deciding import ApprovalBook
from domain.fork import ForkBook
from domain.goal import GoalBook
from domain.intake import IntakePorts, IntakeSettings
from domain.learning.pins import PinBook
from domain.ports import Clock, PriceList
from domain.pricing import PriceBook
from domain.push import PushLag
from domain.records import EventLog, KeyRing
from domain.scheduling import ScheduleBook, ScheduleEngine
from domain.spending import CallBook, ModelHealthBook
from domain.stats import FigureBook, ToolTrouble, WorkerSlot
from domain.tiers import ModelRouter
from domain.treelog import TreeLog
from domain.upstream import RawModels

Check = Callable[[], Awaitable[str | None]]
"""Looks at one thing the product needs: None when it serves, else a sentence that says why not."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the product's own log. `at_ms` is milliseconds since the epoch."""

    at_ms: int
    level: str
    component: str
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)


class LogFeed(Protocol):
    """The log as it happens."""

    def subscribe(self) -> AsyncIterator[LogLine]:
        """Yield every line from now on; a reader that falls behind misses the oldest lines."""
        ...


class WorkerPool(Protocol):
    """The places where steps run, in every worker that is known."""

    async def slots(self) -> Sequence[WorkerSlot]:
        """Return every slot, in a stable order."""
        ...


class AddressGuard(Protocol):
    """The operator's rule for addresses that agents may live at."""

    def check_url(self, text: str) -> object:
        """Refuse a URL that could never be contacted; names are resolved only when connecting.

        Raises:
            AddressRefusedError: scheme, port or a literal address that is not allowed.
        """
        ...


async def nothing_stuck() -> Sequence[str]:
    """Say that no run is stuck."""
    return ()


async def nothing_pushed() -> PushLag | None:
    """Say that no receiver is named."""
    return None


@dataclass(frozen=True, slots=True)
class ProxyPorts:
    """What model calls that are no step of a run need: the way to models, the ledger, the choice.

    Models of providers with a wire format of their own are asked through the intake's catalogue.
    """

    raw: RawModels
    calls: CallBook
    prices: PriceList
    router: ModelRouter


@dataclass(frozen=True, slots=True)
class ApiPorts:
    """What the API speaks to. `checks` are what `/readyz` and `/health` look at, by name."""

    intake: IntakePorts
    proxy: ProxyPorts
    events: EventLog
    trees: TreeLog
    approvals: ApprovalBook
    clients: ClientBook
    forks: ForkBook
    dead_letters: DeadLetterBook
    goals: GoalBook
    budgets: BudgetBook
    prices: PriceBook
    costs: CostBook
    figures: FigureBook
    schedules: ScheduleBook
    scheduler: ScheduleEngine
    keys: KeyRing
    agent_health: HealthBook
    pins: PinBook
    model_health: ModelHealthBook
    clock: Clock
    workers: WorkerPool
    logs: LogFeed
    addresses: AddressGuard
    checks: Mapping[str, Check] = field(default_factory=dict)
    stuck: Callable[[], Awaitable[Sequence[str]]] = nothing_stuck
    """Returns the runs whose workflow task keeps failing."""
    push_lag: Callable[[], Awaitable[PushLag | None]] = nothing_pushed
    """Returns how far the receiver of the event push is behind; None without one."""
    tool_trouble: Callable[[], ToolTrouble] = ToolTrouble
    """Returns what tools in this process do to its event loop."""


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """How server-sent events behave. Seconds, unless the name says otherwise."""

    ping_seconds: float = 15.0
    retry_ms: int = 2000
    recheck_seconds: float = 30.0
    """A stream's key is looked at again this often, and at once when it is revoked here."""
    stall_seconds: float = 30.0
    """A reader that takes nothing for this long is cut; it can resume."""
    approvals_seconds: float = 0.5
    """Between two looks for approvals that came or went, of each stream that follows them."""
    requests_seconds: float = 0.1
    """Between two looks for what a tool host could take, of each that waits for it."""
    beat_seconds: float = 5.0
    """Between two beats of seed A's log."""
    most: int = 10_000
    most_per_caller: int = 6_000


@dataclass(frozen=True, slots=True)
class RateConfig:
    """Requests a caller may send: per key, or per address while authentication is off."""

    per_second: float = 1000.0
    burst: int = 5000
    failures_per_second: float = 1.0
    """Requests with a wrong credential, per address."""
    failures_burst: int = 30


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """How model calls over `/v1/chat/completions` behave."""

    output_tokens: int = 4096
    """Asked for at most where the caller names no cap."""
    most_output_tokens: int = 131_072
    """What a caller may ask for."""
    total_seconds: float = 300.0
    """The longest that a call may take; what is held for it is kept a little longer."""


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """How the API behaves.

    `open_without_keys` is for a server that only this machine can reach: while there is no key but
    revoked ones, everybody is the local owner. Elsewhere a request without a key is refused.
    `allowed_hosts` are names of the Host header, without a port; `*` takes any and is for servers
    that require a key. `allowed_origins` are browser origins (`https://host:port`) besides our own.
    """

    intake: IntakeSettings
    open_without_keys: bool
    allowed_hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    allowed_origins: frozenset[str] = frozenset()
    heartbeat_seconds: float = 30.0
    """How often an external agent is told to say that it is there."""
    agents_file: str | None = None
    """Where every shared agent stands; None where several processes may each have such a file."""
    max_body_bytes: int = 1024 * 1024
    body_seconds: float = 30.0
    """A request body has to be here within this time."""
    max_wait_seconds: float = 300.0
    """The longest that a request may ask to wait: `?wait=`, a tool host's poll."""
    key_cache_seconds: float = 2.0
    """How long a revocation made by another process may go unnoticed."""
    stream: StreamConfig = StreamConfig()
    rate: RateConfig = RateConfig()
    proxy: ProxyConfig = ProxyConfig()
