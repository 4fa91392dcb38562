"""How people are asked: what could never come about is refused when it is registered."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.policy import OnTimeout, ToolPolicy, policy_from

USELESS: list[tuple[dict[str, Any], str]] = [
    ({"on_timeout": "approve"}, "expires_in_seconds"),
    ({"on_timeout": "reject"}, "expires_in_seconds"),
    ({"on_timeout": "escalate", "escalate_to": ["boss"]}, "expires_in_seconds"),
    ({"on_timeout": "approve", "expires_in_seconds": None}, "expires_in_seconds"),
    ({"on_timeout": "escalate", "expires_in_seconds": 5}, "escalate_to"),
    ({"on_timeout": "escalate", "expires_in_seconds": 5, "escalate_to": []}, "escalate_to"),
]


@pytest.mark.parametrize(("asking", "lacks"), USELESS)
def test_a_timeout_without_what_it_needs_is_refused(asking: dict[str, Any], lacks: str) -> None:
    with pytest.raises(ValidationError, match=f"needs {lacks}"):
        ToolPolicy.model_validate({"approval": asking})


@pytest.mark.parametrize(("asking", "lacks"), USELESS)
def test_what_was_registered_before_still_rules(asking: dict[str, Any], lacks: str) -> None:
    """An agent of an older release must not fail its runs."""
    del lacks

    assert policy_from({"approval": asking}).approval.on_timeout is OnTimeout(asking["on_timeout"])


def test_whoever_sends_every_default_back_is_not_refused() -> None:
    defaults = ToolPolicy().model_dump(mode="json")

    assert ToolPolicy.model_validate(defaults) == ToolPolicy()
