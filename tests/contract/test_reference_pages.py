"""The generated pages say what the code says."""

import pytest

from bootstrap.reference.pages import FOLDER, PAGES


@pytest.mark.parametrize("name", list(PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    """`python -m bootstrap.reference.pages` writes them."""
    assert (FOLDER / name).read_text() == PAGES[name]()
