"""What `docs/howto/approvals.md` shows can be used as it stands."""

import json
import re
from pathlib import Path

import pytest

from bootstrap.agents_file import FILE_NAME, read_agents_file
from bootstrap.capabilities import build_capabilities
from bootstrap.settings import Settings
from domain.agent import Agent
from domain.policy import CallInQuestion, policy_from, rule_on
from domain.tool import ToolSpec

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "approvals.md"


@pytest.fixture
async def clerk(tmp_path: Path) -> tuple[Agent, dict[str, ToolSpec]]:
    """The agent of the page, checked as a server does when it starts, and the tools there are."""
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / FILE_NAME).write_text(shown)
    can = build_capabilities(Settings(data_dir=tmp_path), "http://127.0.0.1:8080")
    try:
        (agent,) = read_agents_file(tmp_path / FILE_NAME, 0, can.check_agent)
        return agent, {spec.name: spec for spec in can.toolbox.specs()}
    finally:
        await can.close()


@pytest.mark.parametrize(
    ("tool", "args", "decision"),
    [
        ("http_fetch", {"url": "https://example.com/"}, "ask"),
        ("http_fetch", {"url": "https://docs.python.org/3/"}, "allow"),
        ("http_fetch", {"url": "https://docs.python.org.evil.example/"}, "ask"),
        ("weather", {"city": "Bern"}, "block"),
        ("calculator", {"expression": "1+1"}, "allow"),
    ],
)
async def test_its_agent_starts_a_server_and_rules_as_it_says(
    clerk: tuple[Agent, dict[str, ToolSpec]], tool: str, args: dict[str, str], decision: str
) -> None:
    agent, tools = clerk

    call = CallInQuestion(tool, tools[tool].effect, json.dumps(args))

    assert rule_on(policy_from(agent.tool_policy), call).decision == decision
