"""Prices from `orchestrator.toml` and the environment."""

from decimal import Decimal
from pathlib import Path

import pytest

from bootstrap.capabilities import build_capabilities
from bootstrap.commands.given import load_settings
from domain.chat import TokenUsage
from domain.errors import SetupError

USAGE = TokenUsage(input_tokens=1_000_000, output_tokens=1_000_000)
TOML = """
[prices."openai/gpt-x"]
input_per_mtok_usd = 1.25
output_per_mtok_usd = "10"

[prices."openai/gpt-4o"]
input_per_mtok_usd = 0
output_per_mtok_usd = 0
"""


async def test_a_price_of_the_file_wins_over_the_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is looked for in the folder of the process."""
    (tmp_path / "orchestrator.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)

    can = build_capabilities(load_settings(), "http://127.0.0.1:8080")
    infos = {info.model: info for info in can.models.models()}
    await can.close()

    assert can.prices.cost("openai/gpt-x", USAGE) == Decimal("11.25")
    assert can.prices.cost("openai/gpt-4o", USAGE) == 0
    assert infos["openai/gpt-x"].price_source == infos["openai/gpt-4o"].price_source == "file"
    assert infos["openai/gpt-4o-mini"].price_source == "bundled"


@pytest.mark.parametrize(
    "said",
    [
        '{"gpt-x": {"input_per_mtok_usd": 1, "output_per_mtok_usd": 1}}',
        '{"openai/x": {"input_per_mtok_usd": 1}}',
        '{"openai/x": {"input_per_mtok_usd": -1, "output_per_mtok_usd": 1}}',
        '{"openai/x": {"input_per_mtok_usd": 1, "output_per_mtok_usd": 1, "currency": "EUR"}}',
    ],
)
def test_a_price_that_makes_no_sense_stops_the_start(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_PRICES", said)

    with pytest.raises(SetupError, match=r"(?i)prices"):
        load_settings()
