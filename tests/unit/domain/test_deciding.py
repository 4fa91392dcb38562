"""Deciding: the answer is on record before anybody is woken."""

from types import SimpleNamespace
from typing import Any

import pytest

from domain.approval import Answer, Remember
from domain.deciding import Deciding
from domain.errors import ConflictError, EngineUnavailableError


class Book:
    """Remembers what is decided; two questions are outdated."""

    def __init__(self) -> None:
        self.decided: list[str] = []
        self.old = ["ap_1", "ap_2"]

    async def decide(self, _owner: str | None, approval_id: str, said: Answer) -> Any:
        if approval_id in self.decided:
            raise ConflictError(f"{approval_id} was decided, not by {said.by}")
        self.decided.append(approval_id)
        budget = "bud_1" if approval_id == "ap_money" else None
        return SimpleNamespace(run_id=f"run of {approval_id}", budget_id=budget)

    async def waiting_on(self, budget_id: str) -> list[str]:
        return [f"another on {budget_id}"]

    async def outdated(self) -> list[str]:
        return self.old

    async def revisit(self, approval_id: str) -> Any:
        return SimpleNamespace(run_id="run of ap_2") if approval_id == "ap_2" else None


class Gateway:
    """Notes who is woken; may be away."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.is_away = False

    async def wake(self, run_id: str) -> None:
        if self.is_away:
            raise EngineUnavailableError("away")
        self.woken.append(run_id)


def parts() -> tuple[Book, Gateway, Deciding]:
    book, gateway = Book(), Gateway()
    return book, gateway, Deciding(book, gateway)  # type: ignore[arg-type]


async def test_an_answer_wakes_its_run() -> None:
    book, gateway, deciding = parts()

    await deciding.decide("ann", "ap_9", Answer(approved=False, by="eve"))

    assert (book.decided, gateway.woken) == (["ap_9"], ["run of ap_9"])


@pytest.mark.parametrize(("approved", "others"), [(True, ["another on bud_1"]), (False, [])])
async def test_a_raised_budget_wakes_all_who_wait_for_it(approved: bool, others: list[str]) -> None:
    _, gateway, deciding = parts()

    await deciding.decide("ann", "ap_money", Answer(approved=approved, by="eve"))

    assert gateway.woken == ["run of ap_money", *others]


async def test_an_answer_that_does_not_count_wakes_nobody() -> None:
    _, gateway, deciding = parts()
    await deciding.decide("ann", "ap_9", Answer(approved=True, by="eve"))

    with pytest.raises(ConflictError):
        await deciding.decide("ann", "ap_9", Answer(approved=False, by="mallory"))
    assert gateway.woken == ["run of ap_9"]


async def test_an_engine_that_is_away_does_not_undo_the_answer() -> None:
    book, gateway, deciding = parts()
    gateway.is_away = True

    await deciding.decide("ann", "ap_9", Answer(approved=True, by="eve"))

    assert book.decided == ["ap_9"]


async def test_a_run_may_be_woken_behind_the_answer() -> None:
    book, gateway, _ = parts()
    behind: list[Any] = []
    deciding = Deciding(book, gateway, behind.append)  # type: ignore[arg-type]

    await deciding.decide("ann", "ap_9", Answer(approved=True, by="eve"))

    assert (book.decided, gateway.woken) == (["ap_9"], [])
    await behind[0]
    assert gateway.woken == ["run of ap_9"]


async def test_what_is_remembered_answers_others_that_wait() -> None:
    _, gateway, deciding = parts()
    said = Answer(approved=True, by="eve", remember=Remember.SESSION)

    await deciding.decide("ann", "ap_9", said)

    assert gateway.woken == ["run of ap_9", "run of ap_2"]


async def test_only_what_a_changed_policy_settled_is_woken() -> None:
    _, gateway, deciding = parts()

    assert await deciding.revisit() == 1
    assert gateway.woken == ["run of ap_2"]
