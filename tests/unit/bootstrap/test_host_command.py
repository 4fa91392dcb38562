"""`tools host`: what may be named, and the example that its page names."""

import os
import sys
from pathlib import Path

import pytest

from adapters.tools.registry import ToolRegistry
from bootstrap.commands.failure import CommandError
from bootstrap.commands.host import _load, _machine
from domain.errors import SetupError
from domain.tool import ToolInvocation
from tests.rig.child import REPO

EXAMPLE = str(REPO / "examples" / "client_tools.py")


@pytest.fixture(autouse=True)
def _paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the process its paths back: a command may change them, a test may not."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (EXAMPLE, ["disk_space", "leave_note"]),
        ("tests.rig.client_tools", ["print_keyed", "print_unsafe", "print_and_raise"]),
        ("tests.rig.client_tools:print_keyed", ["print_keyed"]),
    ],
)
def test_a_file_a_module_or_a_function_is_named(target: str, names: list[str]) -> None:
    assert [tool.spec.name for tool in _load(target)] == names


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_module", "cannot be imported"),
        ("json", "no functions with @tool"),
        ("json:loads", "is not a tool"),
    ],
)
def test_what_has_no_tools_is_refused(target: str, said: str) -> None:
    with pytest.raises((CommandError, SetupError), match=said):
        _load(target)


def test_a_host_is_named_after_its_machine() -> None:
    assert _machine()
    assert "/" not in _machine()


async def test_the_example_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tools = ToolRegistry(_load(EXAMPLE))

    async def run(name: str, **args: str) -> str:
        outcome = await tools.run(
            ToolInvocation(
                run_id="run_1",
                tool_call_id="tc_1",
                idempotency_key="run_1:tc_1",
                name=name,
                args=args,
                timeout_seconds=30,
            )
        )
        return outcome.content

    assert '"free"' in await run("disk_space", path=str(tmp_path))
    assert "No such file" in await run("disk_space", path="/nowhere")
    left = [await run("leave_note", text="hello") for _ in range(2)]
    await tools.aclose()
    assert left[0] == left[1]
    assert [note.read_text() for note in (tmp_path / "notes").iterdir()] == ["hello"]
