"""Dataclasses whose rarer methods are compiled when they are first called.

`dataclasses` compiles half a dozen functions for each class as its module is imported. There are
four hundred such classes at a start, and most of these functions are never called: with them a
process takes an eighth longer to import. From Python 3.13 on they are compiled in one go instead;
what is patched here is not there any more, and nothing is changed.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

_COMPARING = ("__eq__", "__hash__", "__lt__", "__le__", "__gt__", "__ge__")
_REFUSING = ("__setattr__", "__delattr__")  # of frozen classes
_RARE = frozenset(("__repr__", *_COMPARING, *_REFUSING))

_Make = Callable[..., Callable[..., object]]


@contextlib.contextmanager
def late_methods() -> Iterator[None]:
    """Import modules inside whose dataclasses get their rarer methods when somebody calls them."""
    make: _Make | None = getattr(dataclasses, "_create_fn", None)
    if make is None:
        yield
        return
    patched: Any = dataclasses
    patched._create_fn = _late(make)
    try:
        yield
    finally:
        patched._create_fn = make


def _late(make: _Make) -> _Make:
    def create(name: str, *what: object, **how: object) -> Callable[..., object]:
        if name not in _RARE:
            return make(name, *what, **how)
        real: Callable[..., object] | None = None

        def method(self: object, *rest: object) -> object:
            nonlocal real
            if real is None:
                real = make(name, *what, **how)
                _put(type(self), name, method, real)
            return real(self, *rest)

        method.__name__ = name
        return method

    return create


def _put(owner: type, name: str, late: Callable[..., object], real: Callable[..., object]) -> None:
    """Let later calls go to the method itself, where nothing wraps the late one."""
    real.__qualname__ = late.__qualname__
    for cls in owner.__mro__:
        if cls.__dict__.get(name) is late:
            setattr(cls, name, real)
