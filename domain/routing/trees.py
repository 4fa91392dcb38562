"""Small decision trees over named features: a number, and which feature gave which part of it.

Knows nothing of what the numbers mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """A node; without `below` a leaf. A feature below the cut goes to `below`."""

    value: float
    """What the tree would say if it ended here."""
    feature: int = -1
    cut: float = 0.0
    below: "Node | None" = None
    above: "Node | None" = None


def walk(tree: Node, row: Sequence[float], parts: list[float]) -> float:
    """Return what a tree says of a row; add to `parts` what each feature changed."""
    node = tree
    while node.below is not None and node.above is not None:
        after = node.below if row[node.feature] < node.cut else node.above
        parts[node.feature] += after.value - node.value
        node = after
    return node.value
