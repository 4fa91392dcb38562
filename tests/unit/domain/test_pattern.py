"""Late patterns: as those of `re`, from their first use on."""

import re

import pytest

from domain.pattern import late_pattern


def test_it_is_the_pattern_of_re() -> None:
    late, plain = late_pattern(r"(a+)B", re.IGNORECASE), re.compile(r"(a+)B", re.IGNORECASE)

    for _ in range(2):
        found = late.search("xAab")
        assert found is not None
        assert found[1] == "Aa"
        assert late.findall("ab aab") == plain.findall("ab aab")
        assert late.sub("-", "ab!") == "-!"
    assert (late.pattern, late.flags) == (plain.pattern, plain.flags)


def test_it_is_compiled_at_its_first_use() -> None:
    wrong = late_pattern("(")

    with pytest.raises(re.error):
        wrong.search("x")
