"""What open circuits of models mean for an agent: the whole chain counts, not one model of it."""

from collections.abc import Sequence
from enum import Enum, auto

from domain.learning.books import Standing


class Way(Enum):
    """Whether a run of an agent would be answered now."""

    FREE = auto()
    """Some model of the chain takes calls, or will as soon as one asks."""
    PROBING = auto()
    """None does, but one call is finding out how one of them is."""
    OPEN = auto()
    """None does, until a cool-down is over."""


def way_of(chain: Sequence[str], standing: Standing) -> Way:
    """Return how the circuits of a chain stand; one of no models is free."""
    open_, probing = standing.open_models, standing.probing_models
    if not chain or any(model not in open_ and model not in probing for model in chain):
        return Way.FREE
    return Way.PROBING if any(model in probing for model in chain) else Way.OPEN
