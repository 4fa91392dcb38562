"""Names that stand for a choice of models."""

import pytest

from domain.errors import NotFoundError
from domain.tiers import Choice, FixedTiers, ModelTier, Question, is_choice, tier_of


def test_auto_and_tiers_are_choices_and_models_are_none() -> None:
    assert is_choice("auto")
    assert is_choice("tier:simple")
    assert not is_choice("openai/gpt-x")
    assert tier_of("auto") is None
    assert tier_of("tier:reasoning") is tier_of("tier:critical") is ModelTier.CRITICAL
    with pytest.raises(NotFoundError):
        tier_of("tier:huge")


async def test_fixed_tiers_are_as_configured_and_else_the_usual_chain() -> None:
    router = FixedTiers({ModelTier.SIMPLE: ("a/b",)}, ("c/d", "e/f"))

    simple = await router.choose(ModelTier.SIMPLE, Question("hi"))
    others = [await router.choose(tier, Question("hi")) for tier in (None, ModelTier.CRITICAL)]

    assert simple == Choice(
        ("a/b",), ModelTier.SIMPLE, {"tier": "simple", "reason": "asked for by name"}
    )
    assert [choice.models for choice in others] == [("c/d", "e/f")] * 2
