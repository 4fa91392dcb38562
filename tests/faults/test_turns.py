"""Many messages at once for one session under each policy, and a worker killed in between.

Fault 2: whatever happens to a message, its place is kept, it is not lost, and no run of it works
twice.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from tests.faults.books import Books
from tests.rig.world import World

pytestmark = pytest.mark.timeout(300)
POLICIES = ("enqueue", "reject", "interrupt", "steer")
AT_ONCE = 24
HOLDER = "say zero\ntokens=60 gap_ms=20"
HOLDERS = {"interrupt": "tokens=100000 gap_ms=20"}
"""Where whoever holds the session has to be at work still, however late the first message comes."""


@pytest.mark.parametrize("policy", POLICIES)
async def test_messages_at_once_and_a_worker_killed(world: World, policy: str) -> None:
    await at_once(world, policy, AT_ONCE)


@pytest.mark.heavy
@pytest.mark.parametrize("policy", POLICIES)
async def test_two_hundred_messages_at_once_and_a_worker_killed(world: World, policy: str) -> None:
    await at_once(world, policy, 200)


async def at_once(world: World, policy: str, count: int) -> None:
    _, workers = await world.apart(workers=2)
    await world.agent()
    holder = await world.start(HOLDERS.get(policy, HOLDER), session_id="s")
    await world.watch(holder).sees("agent_stream_delta", 2)
    pid = await world.pid_of_step(holder)
    (mine,) = [worker for worker in workers if worker.pid == pid]

    sending = [asyncio.ensure_future(send(world, policy, number)) for number in range(count)]
    for answered in itertools.islice(asyncio.as_completed(sending), count // 2):
        await answered
    mine.kill()
    answers = await asyncio.gather(*sending)
    books = await world.check(seconds=240)

    LOOKS[policy](books, holder, answers)


async def send(world: World, policy: str, number: int) -> Any:
    """Say something to the session; a refusal is an answer too."""
    body = {"input": f"say m{number}", "agent_id": "helper", "session_id": "s"}
    key = f"m-{number}"
    answer = await world.send("POST", "/v1/runs", {**body, "on_busy": policy}, key, allowed=(409,))
    if "run_id" in answer:
        world.accepted.setdefault(key, set()).add(answer["run_id"])
    return answer


# ---------------------------------------------------------------- what must have become of them


def users(books: Books) -> list[str]:
    """Return what people said, as it stands in the transcript."""
    return [text for role, text in placed(books) if role == "user"]


def placed(books: Books) -> list[tuple[str, str]]:
    rows = [row for row in books.tables["messages"] if row["seq"] is not None]
    assert len(rows) == len(books.tables["messages"]), "a message has no place"
    return [(row["role"], row["content"]) for row in sorted(rows, key=lambda row: row["seq"])]


def in_line(books: Books) -> list[Any]:
    """Return the runs in the order in which they were accepted."""
    return sorted(books.runs, key=lambda run: run["queue_seq"] or 0)


def inputs(books: Books) -> list[str]:
    """Return what the runs were started with, in the order in which they were accepted."""
    return [books.envelopes(run["run_id"])[0]["data"]["content"] for run in in_line(books)]


def all_said(answers: Sequence[Any], first: str = HOLDER) -> set[str]:
    return {first, *(f"say m{number}" for number in range(len(answers)))}


def look_at_enqueue(books: Books, _holder: str, answers: Sequence[Any]) -> None:
    assert len(books.runs) == len(answers) + 1
    assert {run["state"] for run in books.runs} == {"DONE"}
    assert users(books) == inputs(books)
    assert set(inputs(books)) == all_said(answers)
    assert [role for role, _ in placed(books)] == ["user", "assistant"] * len(books.runs)


def look_at_reject(books: Books, holder: str, answers: Sequence[Any]) -> None:
    taken = {answer["run_id"] for answer in answers if "run_id" in answer}
    assert {answer["code"] for answer in answers if "run_id" not in answer} == {"session_busy"}
    assert {run["run_id"] for run in books.runs} == {holder, *taken}
    assert {run["state"] for run in books.runs} == {"DONE"}
    assert [role for role, _ in placed(books)] == ["user", "assistant"] * len(books.runs)


def look_at_interrupt(books: Books, holder: str, answers: Sequence[Any]) -> None:
    assert len(books.runs) == len(answers) + 1
    *earlier, last = in_line(books)
    assert last["state"] == "DONE"
    # One that got its turn between two messages may have ended before the second came.
    assert {run["state"] for run in earlier} <= {"CANCELLED", "DONE"}
    assert books.run(holder)["state"] == "CANCELLED"
    assert users(books) == inputs(books)
    assert set(inputs(books)) == all_said(answers, HOLDERS["interrupt"])


def look_at_steer(books: Books, holder: str, answers: Sequence[Any]) -> None:
    assert {holder, *(answer["run_id"] for answer in answers)} == {
        run["run_id"] for run in books.runs
    }
    assert {run["state"] for run in books.runs} == {"DONE"}
    told = [
        event["data"]["content"]
        for run in in_line(books)
        for event in books.envelopes(run["run_id"])
        if event["type"] == "user_input"
    ]
    assert users(books) == told
    assert set(told) == all_said(answers)
    assert len(told) == len(answers) + 1
    assert placed(books)[-1][0] == "assistant", "the last word is answered"


LOOKS = {
    "enqueue": look_at_enqueue,
    "reject": look_at_reject,
    "interrupt": look_at_interrupt,
    "steer": look_at_steer,
}
