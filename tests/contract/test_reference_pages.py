"""The generated pages say what the code says."""

import re

import pytest

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
