"""Transactions with names: the name is also the crash point before and after the commit."""

from collections.abc import Callable
from typing import TypeVar

from adapters.store.database.tx import Engine, Unit

T = TypeVar("T")
CrashPoint = Callable[[str], None]


def no_crash(_point: str) -> None:
    """Pass a crash point that nobody asked for."""


class Commits:
    """An engine's writes, each under a name.

    Args:
        crash: called with `<name>:before` and `<name>:after` around each commit.
    """

    def __init__(self, engine: Engine, crash: CrashPoint = no_crash) -> None:
        self.engine = engine
        self._crash = crash

    async def __call__(self, name: str, unit: Unit[T]) -> T:
        """Run `unit` in a transaction called `name`."""
        self._crash(f"{name}:before")
        value = await self.engine.write(unit)
        self._crash(f"{name}:after")
        return value

    async def at_once(self, name: str, unit: Unit[T]) -> T:
        """Run a short `unit` that an answer waits for."""
        self._crash(f"{name}:before")
        value = await self.engine.write_at_once(unit)
        self._crash(f"{name}:after")
        return value
