"""A clock that moves when told, and ids in order."""

import itertools

NOW = 1_763_632_800_000


class FakeClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = NOW

    def now_ms(self) -> int:
        return self.now


class FakeIds:
    """Ids in order."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def new(self, prefix: str) -> str:
        return f"{prefix}_{next(self._count):06d}"
