"""What open circuits of models mean for an agent."""

from collections.abc import Sequence

import pytest

from domain.learning.books import Standing
from domain.learning.circuits import Way, way_of

STANDING = Standing(
    open_models=frozenset({"a/open", "b/open"}), probing_models=frozenset({"a/probing"})
)


@pytest.mark.parametrize(
    ("chain", "way"),
    [
        ((), Way.FREE),
        (("a/open", "a/well"), Way.FREE),
        (("a/probing", "a/well"), Way.FREE),
        (("a/open", "degraded/static"), Way.FREE),
        (("a/open", "a/probing"), Way.PROBING),
        (("a/open", "b/open"), Way.OPEN),
    ],
)
def test_the_whole_chain_counts(chain: Sequence[str], way: Way) -> None:
    assert way_of(chain, STANDING) is way
