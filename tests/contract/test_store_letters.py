"""Dead letters: on the list once, re-driven or discarded once."""

from typing import Any

import pytest

from domain.acceptance import ForkOf, IdempotencyKey, Page, RunFilter
from domain.errors import ConflictError, NotFoundError
from domain.step import Finish
from tests.contract.fork_scenes import fork
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import FAILED, OWNER, new_run


async def given_up(store: StoreBox, run_id: str = "run_1", **fields: Any) -> str:
    """A run that ended as a dead letter; return that one's id."""
    await store.runs.accept(new_run(run_id, **fields))
    finish = Finish(FAILED.state, "poison_step", "it kills workers", dead_letter_step="llm-1-1")
    await store.steps.finalize(run_id, finish)
    return f"dl_{run_id.removeprefix('run_')}"


async def test_a_poisoned_run_is_on_the_list_and_its_session_goes_on(store: StoreBox) -> None:
    """Fault 30."""
    letter_id = await given_up(store, session_id="s")
    await store.runs.accept(new_run("run_2", "s"))

    letter = await store.letters.get_letter(OWNER, letter_id)

    assert (letter.run_id, letter.code, letter.step_id) == ("run_1", "poison_step", "llm-1-1")
    assert (letter.reason, letter.status) == ("it kills workers", "waiting")
    assert letter.input == {"role": "user", "content": "hello from run_1"}
    assert (await store.directory.get_session(OWNER, "s")).active_run_id == "run_2"
    await store.steps.finalize("run_1", FAILED)
    assert len((await store.letters.list_letters(OWNER, None, Page()))[0]) == 1


async def test_a_dead_letter_is_redriven_once(store: StoreBox) -> None:
    letter_id = await given_up(store)
    of = ForkOf("run_1", None, by="eve", dead_letter_id=letter_id)
    key = IdempotencyKey("redrive", "k", "same")
    await store.runs.accept(new_run("run_2", fork=of, idempotency=key))

    with pytest.raises(ConflictError, match="re-driven as run run_2 by eve"):
        await store.runs.accept(new_run("run_3", fork=of))
    with pytest.raises(ConflictError, match="re-driven"):
        await store.letters.discard(OWNER, letter_id, "eve", None)

    again = await store.runs.accept(new_run("run_4", fork=of, idempotency=key))
    assert (again.replayed, again.run.run_id) == (True, "run_2")
    letter = await store.letters.get_letter(OWNER, letter_id)
    assert (letter.status, letter.redriven_as, letter.settled_by) == ("redriven", "run_2", "eve")
    found, _ = await store.runs.list_runs(OWNER, RunFilter(), Page())
    assert {run.run_id for run in found} == {"run_1", "run_2"}


async def test_a_retry_by_the_run_itself_settles_its_dead_letter(store: StoreBox) -> None:
    letter_id = await given_up(store)

    await fork(store, None)
    await fork(store, None, run_id="run_3")

    letter = await store.letters.get_letter(OWNER, letter_id)
    assert (letter.status, letter.redriven_as) == ("redriven", "run_2")


async def test_a_discarded_letter_stays_on_record(store: StoreBox) -> None:
    letter_id = await given_up(store)
    first = await store.letters.discard(OWNER, letter_id, "eve", "a test")
    second = await store.letters.discard(OWNER, letter_id, "bob", "another")

    assert first == second
    assert (first.settled_by, first.note) == ("eve", "a test")
    of = ForkOf("run_1", None, by="eve", dead_letter_id=letter_id)
    with pytest.raises(ConflictError, match="discarded by eve"):
        await store.runs.accept(new_run("run_2", fork=of))
    waiting, _ = await store.letters.list_letters(OWNER, "waiting", Page())
    assert waiting == []


async def test_dead_letters_of_another_owner_are_not_there(store: StoreBox) -> None:
    letter_id = await given_up(store)

    with pytest.raises(NotFoundError):
        await store.letters.get_letter("eve", letter_id)
    with pytest.raises(NotFoundError):
        await store.letters.discard("eve", letter_id, "eve", None)
    assert (await store.letters.list_letters("eve", None, Page()))[0] == []
    assert len((await store.letters.list_letters(None, None, Page()))[0]) == 1
