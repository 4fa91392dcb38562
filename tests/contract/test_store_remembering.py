"""What people had remembered: until the policy is changed, and only where it can count."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from domain.approval import Remember
from domain.errors import InvalidRequestError
from domain.step import AwaitingApproval, Opened
from domain.tool import Effect
from tests.contract.policy_scenes import (
    ASK,
    YES,
    approval,
    asked,
    asks,
    call_ends,
    look,
    put_policy,
    reads_a_page,
    run_ends,
    started,
)
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import OWNER, check_log, events, new_run

OTHER: dict[str, Any] = {**ASK, "default": "ask"}
ALWAYS = YES.model_copy(update={"remember": Remember.AGENT})
Change = Callable[[StoreBox], Awaitable[None]]


async def remembers(store: StoreBox, **fields: Any) -> None:
    """A person approves a call for good, and its run ends."""
    await put_policy(store, ASK, **fields)
    await started(store, "run_1")
    await store.approvals.decide(OWNER, await asked(store, "run_1"), ALWAYS)
    await call_ends(store, "run_1")
    await run_ends(store, "run_1", turn=2)


async def is_asked_anew(store: StoreBox) -> bool:
    await started(store, "run_2")
    found = await look(store, "run_2")
    assert isinstance(found, (AwaitingApproval, Opened))
    return isinstance(found, AwaitingApproval)


async def there_and_back(store: StoreBox) -> None:
    await put_policy(store, OTHER)
    await put_policy(store, ASK)


async def made_anew(store: StoreBox) -> None:
    await store.directory.delete_agent(OWNER, "helper")
    await put_policy(store, ASK)


async def a_shared_one_takes_its_place(store: StoreBox) -> None:
    await put_policy(store, ASK, owner=None)
    await store.directory.delete_agent(OWNER, "helper")


async def renamed(store: StoreBox) -> None:
    await put_policy(store, ASK, name="Helper the Second")


async def another_agent(store: StoreBox) -> None:
    await put_policy(store, OTHER, "tutor")
    await put_policy(store, OTHER, owner="bob")
    await put_policy(store, OTHER, owner=None)


@pytest.mark.parametrize(
    ("change", "is_forgotten"),
    [
        (there_and_back, True),
        (made_anew, True),
        (a_shared_one_takes_its_place, True),
        (renamed, False),
        (another_agent, False),
    ],
)
async def test_what_was_remembered_ends_with_the_policy_and_does_not_come_back(
    store: StoreBox, change: Change, is_forgotten: bool
) -> None:
    await remembers(store)

    await change(store)

    assert await is_asked_anew(store) == is_forgotten


async def test_so_does_what_was_remembered_for_a_shared_agent(store: StoreBox) -> None:
    await remembers(store, owner=None)

    await put_policy(store, OTHER, owner=None)
    await put_policy(store, ASK, owner=None)

    assert await is_asked_anew(store)


async def test_an_agent_of_ones_own_is_not_the_shared_one(store: StoreBox) -> None:
    await remembers(store, owner=None)

    await put_policy(store, ASK)

    assert await is_asked_anew(store)


async def test_the_record_still_says_that_it_was_remembered(store: StoreBox) -> None:
    await remembers(store)
    await there_and_back(store)

    (row,) = await store.all("SELECT remember, status FROM approvals")

    assert dict(row) == {"remember": "agent", "status": "approved"}


@pytest.mark.parametrize("policy", [{}, ASK])
@pytest.mark.parametrize("remember", [Remember.SESSION, Remember.AGENT])
async def test_nothing_is_remembered_where_untrusted_text_raised_the_bar(
    store: StoreBox, policy: dict[str, Any], remember: Remember
) -> None:
    """It would be asked again at once: better said than done in vain."""
    await put_policy(store, policy)
    await reads_a_page_unasked(store)
    await started(store, "run_2", "s1")
    approval_id = await asked(store, "run_2")
    before = await events(store, "run_2")

    with pytest.raises(InvalidRequestError, match="untrusted text"):
        await store.approvals.decide(
            OWNER, approval_id, YES.model_copy(update={"remember": remember})
        )

    found = await approval(store, approval_id)
    assert (found.status, found.untrusted) == ("pending", True)
    assert await events(store, "run_2") == before
    assert (await store.approvals.decide(OWNER, approval_id, YES)).status == "approved"
    await check_log(store, "run_2")


async def reads_a_page_unasked(store: StoreBox) -> None:
    before = (await store.directory.get_agent(OWNER, "helper")).tool_policy
    await put_policy(store, {})
    await reads_a_page(store, "run_1", "s1")
    await put_policy(store, before)


async def test_a_call_without_an_effect_can_be_remembered_there(store: StoreBox) -> None:
    await put_policy(store, ASK)
    await reads_a_page_unasked(store)
    await store.runs.accept(new_run("run_2", "s1"))
    await asks(store, "run_2", Effect.NONE)
    approval_id = await asked(store, "run_2")

    await store.approvals.decide(OWNER, approval_id, ALWAYS)

    found = await approval(store, approval_id)
    assert (found.status, found.untrusted) == ("approved", False)
