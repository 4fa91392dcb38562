"""How external agents are: what was seen of one, its circuit breaker, and who hears of it. Pure.

Seen is an agent by a check (`GET {endpoint}/health`), a heartbeat of its own, or an answer. Calls
that fail in a row open its circuit: nobody is sent there until a cool-down is over, then one call
tries (half-open). Source: seed B, health checks and heartbeats; seed C, breaker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from domain.errors import (
    AddressRefusedError,
    AgentFailedError,
    AgentUnavailableError,
    CircuitOpenError,
)

AGENT_CHECKS = "agent-checks"
"""The lease of the one worker that checks every agent."""
MAX_CAPABILITIES = 64
"""Capabilities kept of what an agent says of itself."""
_BAD_WORDS = frozenset(
    {
        *("unhealthy", "error", "fail", "failed", "failing", "down", "unavailable"),
        *("draining", "stopping", "stopped", "not_ready"),
    }
)
_MAX_ERROR_CHARS = 500
_MAX_WORD_CHARS = 100


class Health(StrEnum):
    """Whether an external agent may be chosen."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    """Nobody has looked for long enough; it may be chosen."""


class Circuit(StrEnum):
    """Whether calls are sent to an external agent."""

    CLOSED = "closed"
    OPEN = "open"
    """Too many calls in a row failed: none is sent before the cool-down is over."""
    HALF_OPEN = "half_open"
    """The cool-down is over: the next call is the one that tries."""


@dataclass(frozen=True, slots=True)
class HealthRules:
    """When an agent counts as gone, and when its circuit opens. Milliseconds."""

    unseen_ms: int = 90_000
    failures: int = 5
    cool_down_ms: int = 30_000
    probe_ms: int = 310_000
    """The longest that one trying call keeps others out; the worker that makes it may die."""
    fresh_ms: int = 10_000
    """An answer this soon after the last sign of life is not written down."""


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """What is on record of one agent. Times are in ms; `error` is the last thing that went wrong.

    `said` is what the last check or heartbeat said. `open_until` is set while the circuit is not
    closed, `probe_until` while a call tries.
    """

    said: Health = Health.UNKNOWN
    failures: int = 0
    open_until: int | None = None
    probe_until: int | None = None
    seen_at: int | None = None
    checked_at: int | None = None
    error: str | None = None
    version: str | None = None
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found, or what a heartbeat says. `error` None means that all is well."""

    error: str | None = None
    version: str | None = None
    capabilities: tuple[str, ...] | None = None
    is_there: bool = True
    """Whether the agent itself said it; False when nothing answered."""
    is_word: bool = True
    """Whether it says how it is. What it said before stands while it only answers."""


@dataclass(frozen=True, slots=True)
class AgentHealth:
    """How an agent is now."""

    status: Health
    circuit: Circuit
    record: HealthRecord


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """An agent to check. `owner` is None for one that is shared."""

    owner: str | None
    agent_id: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Callee:
    """The agent that a run calls: the owner of the run, and the endpoint that the run began with.

    What happens at an endpoint that the agent has no more says nothing of it.
    """

    owner: str
    agent_id: str
    endpoint: str


def report_of(status: object, version: object, capabilities: object) -> Report:
    """Return what an agent says of itself, cut to what is kept: it may say anything."""
    word = status.strip() if isinstance(status, str) else ""
    listed = capabilities if isinstance(capabilities, list) else None
    return Report(
        error=f"it says that it is {_cut(word)}" if word.lower() in _BAD_WORDS else None,
        version=_cut(version) if isinstance(version, str) else None,
        capabilities=None if listed is None else _words(listed),
    )


def health_of(record: HealthRecord, since_ms: int, now_ms: int, rules: HealthRules) -> AgentHealth:
    """Return how an agent that is registered since `since_ms` is."""
    return AgentHealth(_status(record, since_ms, now_ms, rules), circuit_of(record, now_ms), record)


def circuit_of(record: HealthRecord, now_ms: int) -> Circuit:
    """Return how the circuit is."""
    if record.open_until is None:
        return Circuit.CLOSED
    return Circuit.OPEN if record.open_until > now_ms else Circuit.HALF_OPEN


def _status(record: HealthRecord, since_ms: int, now_ms: int, rules: HealthRules) -> Health:
    seen = record.seen_at
    if record.said is Health.UNHEALTHY or not _takes_calls(record, now_ms):
        return Health.UNHEALTHY
    if seen is not None and now_ms - seen <= rules.unseen_ms:
        return Health.HEALTHY
    last = since_ms if seen is None else seen
    # Nobody looked since then: that says something of us, not of the agent.
    was_looked_for = record.checked_at is not None and record.checked_at > last
    if was_looked_for and now_ms - last > rules.unseen_ms:
        return Health.UNHEALTHY
    return Health.UNKNOWN


def _takes_calls(record: HealthRecord, now_ms: int) -> bool:
    """Whether a run could be sent there: after a cool-down only once the agent was seen again."""
    if record.open_until is None:
        return True
    if record.open_until > now_ms or _is_tried(record, now_ms):
        return False
    return record.seen_at is not None and record.seen_at >= record.open_until


def _is_tried(record: HealthRecord, now_ms: int) -> bool:
    return record.probe_until is not None and record.probe_until > now_ms


def admit(agent_id: str, record: HealthRecord, now_ms: int, rules: HealthRules) -> HealthRecord:
    """Return the record with one more call under way.

    Raises:
        CircuitOpenError: the circuit is open, or another call tries just now.
    """
    if record.open_until is None:
        return record
    wait = record.open_until - now_ms
    if wait > 0:
        raise CircuitOpenError(
            f"agent {agent_id} failed {record.failures} times in a row, the last time because"
            f" {record.error}; it is asked again in {wait / 1000:.1f} s",
            retry_after=timedelta(milliseconds=wait),
        )
    if _is_tried(record, now_ms):
        raise CircuitOpenError(
            f"agent {agent_id} failed, and one call is finding out how it is now"
        )
    return replace(record, probe_until=now_ms + rules.probe_ms)


def after_answer(record: HealthRecord, now_ms: int, rules: HealthRules) -> HealthRecord:
    """Return the record after a whole answer: the circuit is closed."""
    is_fresh = record.seen_at is not None and now_ms - record.seen_at <= rules.fresh_ms
    if is_fresh and not record.failures and record.open_until is None:
        return record
    return replace(
        record,
        said=Health.HEALTHY,
        failures=0,
        open_until=None,
        probe_until=None,
        seen_at=now_ms,
        error=None,
    )


def after_failure(
    record: HealthRecord, error: str, now_ms: int, rules: HealthRules
) -> HealthRecord:
    """Return the record after a call that failed by the agent's fault."""
    failures = record.failures + 1
    until = record.open_until
    if until is not None or failures >= rules.failures:
        # A call from before the circuit opened does not make the cool-down longer.
        until = until if until is not None and until > now_ms else now_ms + rules.cool_down_ms
    return replace(
        record,
        failures=failures,
        open_until=until,
        probe_until=None,
        error=error[:_MAX_ERROR_CHARS],
    )


def after_release(record: HealthRecord) -> HealthRecord:
    """Return the record after a call that says nothing of the agent."""
    return replace(record, probe_until=None)


def after_report(
    record: HealthRecord, report: Report, now_ms: int, *, is_check: bool
) -> HealthRecord:
    """Return the record after a check or a heartbeat."""
    said = record.said
    stands = not report.is_word and said is not Health.UNKNOWN
    if report.is_there and not stands:
        said = Health.UNHEALTHY if report.error else Health.HEALTHY
    is_well = report.is_there and report.error is None
    return replace(
        record,
        said=said,
        seen_at=now_ms if is_well else record.seen_at,
        checked_at=now_ms if is_check else record.checked_at,
        # Why the circuit is not closed stays to be read.
        error=record.error if is_well and (stands or record.failures) else report.error,
        version=report.version if report.version is not None else record.version,
        capabilities=record.capabilities if report.capabilities is None else report.capabilities,
    )


def is_its_fault(error: BaseException) -> bool:
    """Whether an error of a call says that the agent does not work.

    One that answers "no" by the protocol works, and so does one that has no time now (429).
    """
    if isinstance(error, AgentFailedError):
        return not error.is_answer
    if isinstance(error, AgentUnavailableError):
        return not error.is_busy
    return isinstance(error, AddressRefusedError)


def _cut(text: str) -> str:
    return text.replace("\0", "\ufffd")[:_MAX_WORD_CHARS]


def _words(listed: Sequence[object]) -> tuple[str, ...]:
    kept = dict.fromkeys(_cut(word) for word in listed if isinstance(word, str) and word.strip())
    return tuple(kept)[:MAX_CAPABILITIES]


class HealthSight(Protocol):
    """How agents are, for whoever chooses one."""

    async def unhealthy(self, owner: str) -> frozenset[str]:
        """Return the ids of the agents that an owner sees and that are unhealthy."""
        ...


class EverybodyWell:
    """Nobody is known to be unhealthy."""

    async def unhealthy(self, owner: str) -> frozenset[str]:  # noqa: ARG002 - the port's shape
        """Return nobody."""
        return frozenset()


class HealthBook(HealthSight, Protocol):
    """How agents are, as callers of the API see and say it. Agents of kind `http` only."""

    async def health(
        self, which: Sequence[tuple[str | None, str]]
    ) -> Mapping[tuple[str | None, str], AgentHealth]:
        """Return how agents are, by owner (None: shared) and id; other kinds are left out."""
        ...

    async def beat(self, owner: str | None, agent_id: str, report: Report) -> AgentHealth:
        """Note what an agent says of itself.

        Raises:
            NotFoundError: no such agent of kind `http`.
        """
        ...


class CallBook(Protocol):
    """The circuit of each agent, as calls see it; one that nobody registered has none."""

    async def admit(self, callee: Callee) -> None:
        """Say that a call begins.

        Raises:
            CircuitOpenError: it may not.
        """
        ...

    async def answered(self, callee: Callee) -> None:
        """Say that a call was answered."""
        ...

    async def failed(self, callee: Callee, error: str) -> None:
        """Say that a call failed by the agent's fault."""
        ...

    async def released(self, callee: Callee) -> None:
        """Say that a call ended and says nothing of the agent."""
        ...


class CheckBook(Protocol):
    """Which agents are checked, and what was found."""

    async def targets(self) -> Sequence[CheckTarget]:
        """Return every active agent of kind `http`."""
        ...

    async def checked(self, target: CheckTarget, report: Report) -> None:
        """Note what a check found; nothing, if the agent has another endpoint by now."""
        ...


class HealthProbe(Protocol):
    """Asks an agent how it is."""

    async def look(self, endpoint: str) -> Report:
        """Return what `GET {endpoint}/health` says; whatever goes wrong is a report too."""
        ...
