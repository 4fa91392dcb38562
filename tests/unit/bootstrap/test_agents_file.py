"""`agents.toml`: made when missing, loaded as shared agents, the truth about its own."""

from pathlib import Path

import pytest

from adapters.tools.builtin import builtin_tools
from bootstrap.agents_file import FILE_NAME, create_agents_file, load_agents_file, read_agents_file
from bootstrap.capabilities import build_capabilities
from bootstrap.settings import Settings
from domain.agent import Agent, AgentKind
from domain.choosing.asking import Ask, Candidate
from domain.choosing.choice import choose
from domain.choosing.criteria import Known
from domain.choosing.specialty import Specialty
from domain.errors import SetupError
from domain.learning.agents import card_of
from tests.fakes.clock import FakeClock
from tests.fakes.directory import FakeDirectory
from tests.fakes.world import World


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def directory(clock: FakeClock) -> FakeDirectory:
    return FakeDirectory(clock)


def write(folder: Path, text: str) -> Path:
    path = folder / FILE_NAME
    path.write_text(text)
    return path


def shared(directory: FakeDirectory) -> dict[str, Agent]:
    return {agent_id: agent for (owner, agent_id), agent in directory.agents.items() if not owner}


async def test_a_missing_file_is_made_with_agents_that_work(
    tmp_path: Path, directory: FakeDirectory, clock: FakeClock
) -> None:
    await load_agents_file(tmp_path / "new", directory, clock)

    agents = shared(directory)
    assert list(agents) == ["assistant", "math", "writer"]
    known = {tool.spec.name for tool in builtin_tools(None)}  # type: ignore[arg-type]
    assert set(agents["assistant"].tools) == known - {"spawn_run"}
    assert all(agent.models == () and agent.kind is AgentKind.LLM for agent in agents.values())
    assert all(agent.description and agent.instructions for agent in agents.values())
    assert (tmp_path / "new" / FILE_NAME).read_text().startswith("#")


@pytest.mark.parametrize(
    ("request_", "agent_id"),
    [
        ("write a poem about tea", "writer"),
        ("Write 3 haikus", "writer"),
        ("Translate this into French: good morning", "writer"),
        ("What is 12 * 7?", "math"),
        ("(3 + 4) / 2", "math"),
        ("What is 20% of 50?", "math"),
        ("multiply 6 by 7", "math"),
        ("What time is it?", "assistant"),
        ("How is the weather in Paris?", "assistant"),
        ("Hello!", "assistant"),
        ("What happened on 2026-11-20?", "assistant"),
    ],
)
def test_plain_sentences_find_the_agent_that_they_are_for(
    tmp_path: Path, request_: str, agent_id: str
) -> None:
    create_agents_file(tmp_path / FILE_NAME)
    cards = [card_of(agent) for agent in read_agents_file(tmp_path / FILE_NAME, 0)]

    specialty = Specialty(cards)
    candidates = [Candidate(card) for card in cards]
    choice = choose(Ask("run_1", request_), candidates, specialty, Known(), "assistant")

    assert choice is not None
    assert choice.agent_id == agent_id, choice.scores


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path, "# mine\n")

    create_agents_file(path)

    assert path.read_text() == "# mine\n"


async def test_loading_again_changes_nothing(
    tmp_path: Path, directory: FakeDirectory, clock: FakeClock
) -> None:
    await load_agents_file(tmp_path, directory, clock)
    before = shared(directory)
    clock.now += 1000

    await load_agents_file(tmp_path, directory, clock)

    assert shared(directory) == before


async def test_a_change_in_the_file_changes_the_agent(
    tmp_path: Path, directory: FakeDirectory, clock: FakeClock
) -> None:
    write(tmp_path, '[agents.a]\ninstructions = "one"\n')
    await load_agents_file(tmp_path, directory, clock)

    write(tmp_path, '[agents.a]\ninstructions = "two"\nlimits = { max_turns = 3 }\n')
    await load_agents_file(tmp_path, directory, clock)

    agent = shared(directory)["a"]
    assert (agent.instructions, agent.limits.max_turns, agent.name) == ("two", 3, "a")


async def test_an_agent_that_left_the_file_is_removed_and_no_other(
    tmp_path: Path, clock: FakeClock
) -> None:
    world = World()
    world.add_agent("by-api")
    world.add_agent("b", owner="team")
    write(tmp_path, "[agents.a]\n[agents.b]\n")
    await load_agents_file(tmp_path, world.directory, clock)

    write(tmp_path, "")
    await load_agents_file(tmp_path, world.directory, clock)

    left = set(world.directory.agents)
    assert left == {(None, "assistant"), (None, "by-api"), ("team", "b")}


def test_every_field_of_an_agent_can_be_given(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [agents."x.y-1"]
        name = "X"
        description = "d"
        instructions = "i"
        models = ["openai/gpt-x", "offline/echo"]
        tools = ["calculator"]
        capabilities = ["c"]
        limits = { max_turns = 2, max_cost_usd = "0.50", max_seconds = 10 }
        status = "inactive"
        metadata = { team = "t" }
        """,
    )

    (agent,) = read_agents_file(path, 5)

    assert agent.agent_id == "x.y-1"
    assert agent.models == ("openai/gpt-x", "offline/echo")
    assert agent.limits.max_cost_usd == "0.50"
    assert agent.metadata == {"team": "t", "source": "file"}
    assert (agent.status, agent.owner, agent.created_at) == ("inactive", None, 5)


def test_an_agent_of_kind_http_has_an_endpoint(tmp_path: Path) -> None:
    path = write(tmp_path, '[agents.remote]\nkind = "http"\nendpoint = "http://localhost:9000"\n')

    (agent,) = read_agents_file(path, 0)

    assert (agent.kind, agent.endpoint) == (AgentKind.HTTP, "http://localhost:9000")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[agents.a]\nnam = 1\n", 2, "a.nam: unknown key; there are capabilities"),
        ("\n[agents.a]\nname = 1\n", 3, "a.name: Input should be a valid string"),
        ("[agents.a]\n[agents.b]\ntools = 'x'\n", 3, "b.tools"),
        ("[agents.a]\nlimits = { max_turns = 0 }\n", 2, "a.limits.max_turns"),
        ("[agents.a.limits]\nturns = 1\n", 1, "a.limits.turns: unknown key"),
        ("[agent.a]\n", 1, "unknown key 'agent'"),
        ("name = 'x'\n[agents.a]\n", 1, "unknown key 'name'"),
        ('[agents."a b"]\n', 1, "no agent id"),
        ("agents = 3\n", 1, "table of tables"),
        ("[agents]\na = 3\n", 2, "a"),
        ("[agents.a]\nkind = 'http'\n", 1, "an endpoint belong together"),
        ("[agents.a]\nname='x'\nendpoint = 'http://x'\n", 3, "an endpoint belong together"),
        ("[agents.a]\ntool_policy = { default = 'maybe' }\n", 2, "tool_policy.default"),
        ("[agents.a\n", 1, "not TOML"),
        ("[agents.a]\nname = 'x'\nname = 'y'\n", 3, "not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(SetupError) as refused:
        read_agents_file(path, 0)

    assert said in refused.value.message
    assert f"line {line}" in refused.value.message
    assert str(path) in refused.value.message


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(SetupError, match="cannot be read"):
        read_agents_file(path, 0)


async def test_nothing_is_changed_by_a_file_with_a_mistake(
    tmp_path: Path, directory: FakeDirectory, clock: FakeClock
) -> None:
    await load_agents_file(tmp_path, directory, clock)
    before = shared(directory)

    write(tmp_path, "[agents.new]\n[agents.bad]\nx = 1\n")
    with pytest.raises(SetupError):
        await load_agents_file(tmp_path, directory, clock)

    assert shared(directory) == before


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ('tools = ["nope"]', "names tools that are not there: nope"),
        ('models = ["foo/bar"]', "there is no provider foo"),
        ('models = ["gpt-4"]', "gpt-4"),
        ('kind = "http"\nendpoint = "http://169.254.169.254"', "169.254.169.254"),
    ],
)
def test_an_agent_of_no_use_is_refused_as_the_api_would(
    tmp_path: Path, field: str, said: str
) -> None:
    path = write(tmp_path, f"[agents.good]\n[agents.bad]\n{field}\n")
    can = build_capabilities(Settings(), "http://127.0.0.1:8080")

    with pytest.raises(SetupError, match="line 2: ") as refused:
        read_agents_file(path, 0, can.check_agent)

    assert said in refused.value.message


async def test_an_api_beside_others_removes_no_agents_of_theirs(
    tmp_path: Path, directory: FakeDirectory, clock: FakeClock
) -> None:
    write(tmp_path, "[agents.theirs]\n")
    await load_agents_file(tmp_path, directory, clock)
    write(tmp_path, "[agents.ours]\n")

    await load_agents_file(tmp_path, directory, clock, is_only=False)
    assert {"ours", "theirs"} <= set(shared(directory))

    await load_agents_file(tmp_path, directory, clock)
    assert "theirs" not in shared(directory)
