"""Dataclasses that are made inside behave as any others."""

import dataclasses
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any

import pytest

from bootstrap.late_methods import late_methods

_MAKE = getattr(dataclasses, "_create_fn", None)


def _classes() -> tuple[type[Any], type[Any]]:
    @dataclass(frozen=True, slots=True, order=True)
    class Fixed:
        name: str
        numbers: tuple[int, ...] = ()
        hidden: str = field(default="h", repr=False, compare=False)

    @dataclass
    class Free:
        name: str
        inner: object = None

    return Fixed, Free


@pytest.fixture(params=["late", "plain"])
def classes(request: pytest.FixtureRequest) -> tuple[type[Any], type[Any]]:
    """Made both ways: what a test says of the late ones is true of Python's own."""
    if request.param == "plain":
        return _classes()
    with late_methods():
        return _classes()


def test_they_are_compared_ordered_and_hashed_by_value(
    classes: tuple[type[Any], type[Any]],
) -> None:
    fixed, free = classes
    for _ in range(2):  # the first call compiles, the second is the method itself
        assert fixed("a", (1,)) == fixed("a", (1,), "other")
        assert fixed("a") != fixed("b")
        assert fixed("a") != free("a")
        assert hash(fixed("a", (1,))) == hash(fixed("a", (1,), "other"))
        assert sorted([fixed("b"), fixed("a", (2,)), fixed("a", (1,))])[0].numbers == (1,)
        assert fixed("a") <= fixed("a") < fixed("b") >= fixed("b") > fixed("a")
        assert free("a", 1) == free("a", 1) != free("a", 2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(free("a"))


def test_they_are_shown_also_when_one_holds_itself(
    classes: tuple[type[Any], type[Any]],
) -> None:
    fixed, free = classes
    loop = free("x")
    loop.inner = loop

    for _ in range(2):
        assert repr(fixed("a", (1,))).endswith("Fixed(name='a', numbers=(1,))")
        assert repr(loop).endswith("Free(name='x', inner=...)")


def test_what_is_frozen_stays_so(classes: tuple[type[Any], type[Any]]) -> None:
    fixed, _ = classes
    one = fixed("a")

    for _ in range(2):
        with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
            one.name = "b"
        with pytest.raises(FrozenInstanceError, match="cannot delete field 'name'"):
            del one.name
    assert one.name == "a"


def test_subclasses_go_by_their_own(classes: tuple[type[Any], type[Any]]) -> None:
    _, free = classes

    @dataclass
    class More(free):  # type: ignore[misc, valid-type] # made while the test runs
        more: int = 0

    assert More("a", None, 1) != More("a", None, 2)
    assert free("a") == free("a")
    assert "more=1" in repr(More("a", None, 1))
    assert "more" not in repr(free("a"))


@pytest.mark.skipif(_MAKE is None, reason="this Python compiles them in one go")
def test_a_method_that_was_called_is_the_compiled_one() -> None:
    with late_methods():
        fixed, _ = _classes()
    before, name = fixed.__eq__, fixed.__eq__.__qualname__

    assert fixed("a") == fixed("a")
    assert fixed.__eq__ is not before
    assert fixed.__eq__.__qualname__ == name
    assert getattr(dataclasses, "_create_fn", None) is _MAKE
