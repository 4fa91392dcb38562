"""The fitted model, unpacked once: trees over features, for two heads.

What is packed is written by `bench/routing/fit.py`, which says on what it was fitted.
"""

import json
import zlib
from base64 import b85decode
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from domain.routing.coefficients import PACKED
from domain.routing.trees import Node


@dataclass(frozen=True, slots=True)
class Head:
    """One question, such as: is a small model's answer right? Its parts add up to log odds."""

    base: float
    trees: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Heads:
    """The two questions that the gap is made of, and the names of the features."""

    features: tuple[str, ...]
    weak: Head
    strong: Head
    gaps: tuple[float, ...]
    """The gap between the two at every hundredth of the requests it was fitted on."""


@lru_cache(maxsize=1)
def heads() -> Heads:
    """Return the fitted model."""
    packed = json.loads(zlib.decompress(b85decode("".join(PACKED.split()))))
    return unpack(packed)


def unpack(packed: dict[str, Any]) -> Heads:
    """Return a model from its stored form."""
    return Heads(
        features=tuple(packed["features"]),
        weak=_head(packed["weak"]),
        strong=_head(packed["strong"]),
        gaps=tuple(packed["gaps"]),
    )


def _head(packed: dict[str, Any]) -> Head:
    return Head(packed["base"], tuple(_node(tree) for tree in packed["trees"]))


def _node(packed: list[Any]) -> Node:
    """Return a node from `[value]` or `[value, feature, cut, below, above]`."""
    if len(packed) == 1:
        return Node(packed[0])
    value, feature, cut, below, above = packed
    return Node(value, feature, cut, _node(below), _node(above))
