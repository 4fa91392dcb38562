"""The generated pages say what the code says."""

import ast
import re
from pathlib import Path

import pytest

import api
from api.failures import CODES as FRAMEWORK
from bootstrap.reference.pages import FOLDER, PAGES


@pytest.mark.parametrize("name", list(PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    """`python -m bootstrap.reference.pages` writes them."""
    assert (FOLDER / name).read_text() == PAGES[name]()


def test_no_variable_is_explained_twice_and_what_dotenv_may_hold_is_told_apart() -> None:
    settings, dotenv, environment = PAGES["settings.md"]().split("Read from the environment")
    named = [
        name
        for part in (settings, dotenv, environment)
        for row in part.splitlines()
        for name in re.findall(r"`([A-Z_]{4,})`", row.split("|")[1] if "|" in row else "")
    ]

    assert len(named) == len(set(named))
    assert ".env" in dotenv.splitlines()[0]
    assert "`TEMPORAL_ADDRESS`" in dotenv
    assert "only" in environment.splitlines()[0]


def _codes_served() -> set[tuple[int, str]]:
    """Every status with a code that stands in a `Problem` or a `refuse` of the API."""
    found = set()
    for path in Path(api.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Name(id="Problem" | "refuse"),
                    args=[ast.Constant(value=int(status)), ast.Constant(value=str(code)), *_],
                ):
                    found.add((status, code))
    return found


def test_every_code_that_is_served_is_on_the_page_of_errors() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGES["errors.md"](), re.MULTILINE)
    listed = {(int(status), code) for code, status in rows}
    served = _codes_served() | {(status, code) for status, code in FRAMEWORK.items()}

    assert len(rows) == len({code for code, _ in rows})
    assert (400, "malformed_json") in served
    assert served <= listed


def test_no_default_of_a_setting_is_a_word_of_the_library() -> None:
    assert "Undefined" not in PAGES["settings.md"]()
