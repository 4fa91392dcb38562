"""Token buckets by caller, bounded in memory. Reads no clock: the time is a parameter."""

from collections import OrderedDict

_MOST = 20_000
"""Callers that are remembered; the one not seen for longest is forgotten first."""


class Buckets:
    """One token bucket per caller: `burst` at once, `per_second` over time."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._rate = per_second
        self._burst = float(burst)
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, now: float) -> float:
        """Take one token and return 0.0, or return the seconds until there is one."""
        level = self._level(caller, now)
        if level < 1.0:
            return (1.0 - level) / self._rate
        self._levels[caller] = (level - 1.0, now)
        self._levels.move_to_end(caller)
        if len(self._levels) > _MOST:
            self._levels.popitem(last=False)
        return 0.0

    def _level(self, caller: str, now: float) -> float:
        held = self._levels.get(caller)
        if held is None:
            return self._burst
        return min(self._burst, held[0] + (now - held[1]) * self._rate)
