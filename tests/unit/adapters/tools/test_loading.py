"""Tools named in the settings are found, or a sentence says why not."""

import sys
from pathlib import Path

import pytest

from adapters.tools.loading import load_tools
from domain.errors import SetupError
from tests.unit.adapters.tools import samples

HERE = "tests.unit.adapters.tools.samples"


@pytest.fixture(autouse=True)
def own_import_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_tool_is_loaded_by_module_and_name() -> None:
    assert load_tools([f"{HERE}:fail", f" {HERE}:hang "]) == [samples.fail, samples.hang]


def test_module_may_stand_in_the_folder_the_process_was_started_in(tmp_path: Path) -> None:
    source = (
        "from adapters.tools.decorator import tool\n@tool\ndef f() -> int:\n  'One.'\n  return 1\n"
    )
    (tmp_path / "module_of_a_user.py").write_text(source)

    (loaded,) = load_tools(["module_of_a_user:f"], tmp_path)

    assert loaded.target == "module_of_a_user:f"
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("samples", "not of the form module:name"),
        (":x", "not of the form module:name"),
        ("no_such_module_here:x", "cannot be imported: ModuleNotFoundError"),
        (f"{HERE}:missing", "is not a tool: decorate"),
        (f"{HERE}:not_a_tool", "is not a tool: decorate"),
    ],
)
def test_target_that_is_no_tool_is_explained(target: str, why: str) -> None:
    with pytest.raises(SetupError, match=why):
        load_tools([target])


@pytest.mark.parametrize(
    ("name", "source", "why"),
    [
        ("divides", "1 / 0\n", "division by zero"),
        ("leaves", "import sys\nsys.exit('over')\n", "SystemExit: over"),
    ],
)
def test_module_that_fails_while_imported_is_explained(
    tmp_path: Path, name: str, source: str, why: str
) -> None:
    (tmp_path / f"module_of_a_user_that_{name}.py").write_text(source)

    with pytest.raises(SetupError, match=why):
        load_tools([f"module_of_a_user_that_{name}:f"], tmp_path)
