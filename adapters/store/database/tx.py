"""A transaction as the store's functions see it, whichever database is below.

The functions in this package are plain and synchronous: they take a `Tx`, run SQL with `:name`
parameters and return values. SQLite runs them in its writer thread, PostgreSQL inside an asyncpg
transaction. So each rule about steps, sessions and runs is written once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from domain.event import StoredEvent

Row = Mapping[str, Any]
T = TypeVar("T")


class Tx(Protocol):
    """One open transaction."""

    lock: str
    """Appended to a SELECT to lock its rows: empty on SQLite, which has one writer at a time."""
    octets: str
    """How the bytes of a text are counted in SQL, with `{}` for the text."""
    joined: str
    """How texts of many rows become one as UTF-8 in SQL: with `{}` for the text, for what stands
    before each but the first, and for the end of the key by which the rows are found."""
    committed: list[StoredEvent]
    """Events to hand to viewers once this transaction has committed."""

    def one(self, sql: str, **params: object) -> Row | None:
        """Return the first row, or None."""
        ...

    def all(self, sql: str, **params: object) -> Sequence[Row]:
        """Return every row."""
        ...

    def tuples(self, sql: str, **params: object) -> Sequence[tuple[Any, ...]]:
        """Return every row as a plain tuple: for thousands of them, which cost less so."""
        ...

    def run(self, sql: str, **params: object) -> int:
        """Execute and return how many rows were touched."""
        ...


def storable(params: dict[str, object]) -> dict[str, object]:
    """Return parameters that every database takes.

    NUL and lone surrogates in a text are replaced: people and models send them, PostgreSQL stores
    neither, and nothing is gained by refusing the whole text.
    """
    for name, value in params.items():
        if type(value) is str and ("\x00" in value or not value.isascii()):
            plain = value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
            params[name] = plain
    return params


Unit = Callable[[Tx], T]


class Engine(Protocol):
    """A database that runs units of work."""

    async def write(self, unit: Unit[T]) -> T:
        """Run `unit` in a transaction that commits before this returns.

        Raises:
            StoreUnavailableError: it could not commit; nothing of it was kept.
        """
        ...

    async def write_at_once(self, unit: Unit[T]) -> T:
        """Write as above a short unit that an answer waits for; may use the calling thread."""
        ...

    async def read(self, unit: Unit[T]) -> T:
        """Run `unit`, which must only read, on a consistent snapshot."""
        ...

    async def look_up(self, unit: Unit[T]) -> T:
        """Run one short query by key; may use the calling thread, where a hop would cost more."""
        ...
