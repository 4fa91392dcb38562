"""Leases: who is dead, and that exactly one peer acts on it."""

from collections.abc import Sequence

import pytest

from activities.leases import Holder, WorkerLease
from domain.errors import EngineUnavailableError
from domain.upkeep import HeldStep, Lease


class Clock:
    def __init__(self) -> None:
        self.now = 1_000

    def now_ms(self) -> int:
        return self.now


class Book:
    """Leases and open steps in memory."""

    def __init__(self) -> None:
        self.leases: dict[str, Lease] = {}
        self.steps: dict[str, list[HeldStep]] = {}

    async def take_lease(self, lease: Lease, now_ms: int) -> bool:
        self.leases[lease.name] = lease
        return True

    async def drop_lease(self, name: str, holder: str) -> bool:
        return self.leases.pop(name, None) is not None

    async def list_leases(self, prefix: str) -> Sequence[Lease]:
        return [lease for name, lease in self.leases.items() if name.startswith(prefix)]

    async def unreported_steps(self, worker_id: str, since_ms: int) -> Sequence[HeldStep]:
        return self.steps.get(worker_id, [])


class Engine:
    def __init__(self) -> None:
        self.failed: list[bytes] = []
        self.reset: list[str] = []
        self.stale: set[bytes] = set()
        self.error: Exception | None = None

    async def fail_attempt(self, token: bytes) -> bool:
        if self.error is not None:
            raise self.error
        self.failed.append(token)
        return token not in self.stale

    async def reset_sticky(self, run_id: str) -> None:
        self.reset.append(run_id)


def _lease(
    book: Book, engine: Engine, clock: Clock, gone: set[str], valid: float = 2.0
) -> WorkerLease:
    holder = Holder("me", "p-me", lambda process: process in gone, valid_seconds=valid)
    return WorkerLease(book, engine, clock, holder)  # type: ignore[arg-type] # fakes of two ports


def _dead_peer(book: Book) -> None:
    book.leases["worker:peer"] = Lease("worker:peer", "peer", "p-peer", 500)
    book.steps["peer"] = [HeldStep("run_1", "llm-1-1", b"t1"), HeldStep("run_2", "x", b"t2")]


async def test_attempts_of_a_process_that_is_gone_are_failed_at_once() -> None:
    book, engine = Book(), Engine()
    engine.stale = {b"t2"}
    _dead_peer(book)
    lease = _lease(book, engine, Clock(), {"p-peer"})
    await lease.renew()

    assert await lease.take_over() == 1
    assert (engine.failed, engine.reset) == ([b"t1", b"t2"], ["run_1", "run_2"])
    assert set(book.leases) == {"worker:me"}
    assert await lease.take_over() == 0


async def test_a_lease_that_may_still_be_renewed_is_left_alone() -> None:
    book, engine = Book(), Engine()
    _dead_peer(book)
    lease = _lease(book, engine, Clock(), set())

    assert await lease.take_over() == 0
    assert "worker:peer" in book.leases


async def test_a_lease_that_is_never_renewed_is_taken_over_by_our_own_clock() -> None:
    """The other machine's clock says nothing: what counts is that the lease does not change."""
    book, engine = Book(), Engine()
    _dead_peer(book)
    lease = _lease(book, engine, Clock(), set(), valid=0.0)

    assert await lease.take_over() == 0
    assert await lease.take_over() == 2


async def test_the_peer_that_comes_second_does_nothing() -> None:
    book, engine = Book(), Engine()
    _dead_peer(book)
    lease = _lease(book, engine, Clock(), {"p-peer"})

    async def already_gone(name: str, holder: str) -> bool:
        return False

    book.drop_lease = already_gone  # type: ignore[method-assign] # the race, made certain

    assert await lease.take_over() == 0
    assert engine.failed == []


async def test_an_engine_that_is_away_leaves_the_attempt_to_its_heartbeat() -> None:
    book, engine = Book(), Engine()
    engine.error = EngineUnavailableError("away")
    _dead_peer(book)

    assert await _lease(book, engine, Clock(), {"p-peer"}).take_over() == 0


async def test_any_other_error_is_not_hidden() -> None:
    book, engine = Book(), Engine()
    engine.error = ZeroDivisionError()
    _dead_peer(book)

    with pytest.raises(ZeroDivisionError):
        await _lease(book, engine, Clock(), {"p-peer"}).take_over()


async def test_a_worker_that_stops_gives_its_lease_back() -> None:
    book = Book()
    lease = _lease(book, Engine(), Clock(), set())
    await lease.renew()
    await lease.drop()

    assert book.leases == {}
