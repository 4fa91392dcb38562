"""A cluster whose caches are behind is asked again; one that refuses for good is not."""

import pytest
from temporalio.service import RPCError, RPCStatusCode

from bootstrap import temporal_setup
from bootstrap.temporal_setup import is_spreading, retry_while_spreading

NO_MAPPING = "Namespace x has no mapping defined for search attribute AgentId"
NOT_VALID = "invalid query: column name 'AgentId' is not a valid search attribute"


def refusal(message: str, status: RPCStatusCode = RPCStatusCode.INVALID_ARGUMENT) -> RPCError:
    return RPCError(message, status, b"")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal(NO_MAPPING), True),
        (refusal(NOT_VALID), True),
        (refusal("Namespace x is not found.", RPCStatusCode.NOT_FOUND), True),
        (refusal("workflow not found", RPCStatusCode.NOT_FOUND), False),
        (refusal("id is too long"), False),
        (refusal(NO_MAPPING, RPCStatusCode.PERMISSION_DENIED), False),
    ],
)
def test_only_names_that_were_just_made_are_spreading(error: RPCError, expected: bool) -> None:
    assert is_spreading(error) is expected


async def test_a_call_is_repeated_until_the_name_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal_setup, "_RETRY_SECONDS", 0)  # waits for a real cluster otherwise
    refusals = [refusal(NO_MAPPING), refusal(NOT_VALID)]

    async def call() -> str:
        if refusals:
            raise refusals.pop()
        return "done"

    assert await retry_while_spreading(call) == "done"


async def test_another_refusal_is_raised_at_once() -> None:
    async def call() -> None:
        raise refusal("id is too long")

    with pytest.raises(RPCError, match="too long"):
        await retry_while_spreading(call)
