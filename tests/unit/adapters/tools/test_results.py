"""What a tool returns becomes text that any model and any store can take."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import BaseModel

from adapters.tools.results import UnusableResultError, encode_result


class Point(BaseModel):
    x: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ({"a": [1, 2.5, None, True]}, '{"a":[1,2.5,null,true]}'),
        (None, "null"),
        (Point(x=1), '{"x":1}'),
        (Decimal("1.10"), '"1.10"'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00Z"'),
        ([float("nan"), float("inf")], '["NaN","Infinity"]'),
        (b"\xff\x00", '"_wA="'),
        ("nul \0", "nul \ufffd"),
        ("lone \ud800", "lone ?"),
    ],
)
def test_value_becomes_text(value: object, text: str) -> None:
    assert encode_result(value, 1000) == text


@pytest.mark.parametrize("value", [object(), {"x": "\ud800"}])
def test_value_that_json_cannot_hold_is_named(value: object) -> None:
    with pytest.raises(UnusableResultError, match="is not JSON"):
        encode_result(value, 1000)


def test_value_that_contains_itself_is_named() -> None:
    loop: list[object] = []
    loop.append(loop)

    with pytest.raises(UnusableResultError, match="Circular"):
        encode_result(loop, 1000)


def test_long_text_is_cut_between_characters() -> None:
    assert encode_result("é" * 10, 5) == ("éé\n[cut: result_too_large, 20 bytes; the limit is 5]")


def test_text_of_exactly_the_limit_is_whole() -> None:
    assert encode_result("é" * 10, 20) == "é" * 10
