"""The loop that pushes, over a book and a log in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from activities.push import Pusher, PushPorts, PushSettings
from domain.errors import StoreUnavailableError
from domain.event import StoredEvent
from domain.push import Behind, NotTakenError, PushLag
from tests.fakes.clock import FakeClock

SOON = PushSettings(look_seconds=0.001, lease_seconds=60, most_runs=2)


@dataclass
class Book:
    """Cursors in memory; a run that failed is due again at once."""

    lengths: dict[str, int]
    seqs: dict[str, int] = field(default_factory=dict)
    failed: list[tuple[str, int, str]] = field(default_factory=list)
    troubles: int = 0

    async def discover(self) -> None:
        if self.troubles:
            self.troubles -= 1
            raise StoreUnavailableError("away")

    async def due(self, limit: int) -> Sequence[Behind]:
        found = [
            Behind(run_id, "s", self.seqs.get(run_id, 0), 0)
            for run_id, length in self.lengths.items()
            if self.seqs.get(run_id, 0) < length
        ]
        return found[:limit]

    async def advance(self, run_id: str, event: StoredEvent) -> bool:
        if self.seqs.get(run_id, 0) != event.seq - 1:
            return False
        self.seqs[run_id] = event.seq
        return True

    async def fail(self, run: Behind, pause_ms: int, error: str) -> None:
        assert pause_ms > 0
        self.failed.append((run.run_id, run.pushed_seq, error))

    async def lag(self) -> PushLag:
        return PushLag(0, 0, 0, 0, None)


@dataclass
class Log:
    book: Book

    async def read(
        self, run_id: str, after_seq: int, limit: int, types: Sequence[str] | None = None
    ) -> Sequence[StoredEvent]:
        last = min(self.book.lengths[run_id], after_seq + limit)
        return [StoredEvent(run_id, n, "x", "{}") for n in range(after_seq + 1, last + 1)]


@dataclass
class Leases:
    grants: bool = True
    dropped: list[str] = field(default_factory=list)

    async def take_lease(self, *_: object) -> bool:
        return self.grants

    async def drop_lease(self, name: str, holder: str) -> bool:
        self.dropped.append(f"{name} {holder}")
        return True


@dataclass
class Receiver:
    taken: list[tuple[str, int]] = field(default_factory=list)
    refuses: dict[tuple[str, int], int] = field(default_factory=dict)
    hangs: set[str] = field(default_factory=set)
    going: int = 0
    most: int = 0

    async def send(self, session_id: str, event: StoredEvent) -> None:
        self.going += 1
        self.most = max(self.most, self.going)
        try:
            await asyncio.sleep(0)
            if event.run_id in self.hangs:
                await asyncio.Event().wait()
            left = self.refuses.get((event.run_id, event.seq), 0)
            if left:
                self.refuses[event.run_id, event.seq] = left - 1
                raise NotTakenError("HTTP 500")
            self.taken.append((event.run_id, event.seq))
        finally:
            self.going -= 1


async def push(book: Book, receiver: Receiver, leases: Leases | None = None) -> None:
    """Push until every run that does not hang is at its end."""
    ports = PushPorts(book, Log(book), leases or Leases(), receiver, FakeClock())  # type: ignore[arg-type] # what is used of them
    pusher = Pusher(ports, "w-1", SOON)
    task = asyncio.create_task(pusher.run_forever())
    wanted = {run: n for run, n in book.lengths.items() if run not in receiver.hangs}
    async with asyncio.timeout(10):
        while any(book.seqs.get(run, 0) < n for run, n in wanted.items()):
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await pusher.drop()


def of(receiver: Receiver, run_id: str) -> list[int]:
    return [seq for run, seq in receiver.taken if run == run_id]


async def test_each_run_goes_in_order_and_at_most_so_many_at_once() -> None:
    book = Book({f"run_{n}": 120 for n in range(5)})
    receiver = Receiver()

    await push(book, receiver)

    assert all(of(receiver, run_id) == list(range(1, 121)) for run_id in book.lengths)
    assert receiver.most == 2


async def test_a_refusal_holds_up_its_own_run_alone() -> None:
    book = Book({"run_1": 3, "run_2": 3})
    receiver = Receiver(refuses={("run_1", 2): 3})

    await push(book, receiver)

    assert of(receiver, "run_1") == of(receiver, "run_2") == [1, 2, 3]
    assert book.failed == [("run_1", 1, "HTTP 500")] * 3
    assert receiver.taken.index(("run_2", 3)) < receiver.taken.index(("run_1", 2))


async def test_a_run_that_hangs_holds_up_no_other() -> None:
    book = Book({"run_1": 1, "run_2": 3, "run_3": 3})
    receiver = Receiver(hangs={"run_1"})

    await push(book, receiver)

    assert of(receiver, "run_2") == of(receiver, "run_3") == [1, 2, 3]
    assert receiver.going == 0, "what was in flight is cut at the end"


async def test_a_store_that_is_away_is_waited_for() -> None:
    book = Book({"run_1": 2}, troubles=3)
    receiver = Receiver()

    await push(book, receiver)

    assert of(receiver, "run_1") == [1, 2]


async def test_without_the_lease_nothing_is_sent() -> None:
    receiver, leases = Receiver(), Leases(grants=False)
    book = Book({"run_1": 2})

    task = asyncio.create_task(push(book, receiver, leases))
    for _ in range(50):
        await asyncio.sleep(0)
    assert receiver.taken == []
    leases.grants = True
    await task

    assert of(receiver, "run_1") == [1, 2]
    assert leases.dropped == ["ingress w-1"]
