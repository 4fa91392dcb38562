"""Tiers from the settings."""

import pytest

from bootstrap.commands.given import load_settings
from domain.errors import SetupError
from domain.tiers import ModelTier


def test_reasoning_is_critical(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_TIERS", '{"reasoning": ["a/b"], "SIMPLE": "c/d, e/f"}')

    assert load_settings().tiers == {
        ModelTier.CRITICAL: ("a/b",),
        ModelTier.SIMPLE: ("c/d", "e/f"),
    }


@pytest.mark.parametrize("names", [("reasoning", "critical"), ("simple", "SIMPLE")])
def test_two_names_of_one_tier_are_refused(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    one, other = names
    monkeypatch.setenv("ORCHESTRATOR_TIERS", f'{{"{one}": ["a/b"], "{other}": ["c/d"]}}')

    with pytest.raises(SetupError, match=f"{other} names tier {one if one == 'simple' else other}"):
        load_settings()


def test_tiers_that_are_no_table_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_TIERS", '["a/b"]')

    with pytest.raises(SetupError, match="TIERS"):
        load_settings()
