"""Parts of what was learned: text under a name, each with a revision that every write raises."""

from collections.abc import Mapping, Sequence

from adapters.store.database.pages import listed
from adapters.store.database.tx import Tx
from domain.learning.books import Remembered


class StalePartError(Exception):
    """Somebody else wrote a part in between: nothing of the transaction is kept."""


def revisions(tx: Tx, owner: str) -> dict[str, int]:
    """Return the revision of each part that is stored."""
    rows = tx.all("SELECT name, revision FROM learned WHERE owner = :owner", owner=owner)
    return {row["name"]: row["revision"] for row in rows}


def load(tx: Tx, owner: str, names: Sequence[str]) -> dict[str, Remembered]:
    """Return the parts that are stored under these names."""
    if not names:
        return {}
    among, params = listed(names)
    rows = tx.all(
        f"SELECT name, state, revision FROM learned WHERE owner = :owner AND name IN ({among})",
        owner=owner,
        **params,
    )
    return {row["name"]: Remembered(row["state"], row["revision"]) for row in rows}


def keep(tx: Tx, owner: str, parts: Mapping[str, Remembered], now: int) -> None:
    """Write parts, each over the revision that it was made from.

    Raises:
        StalePartError: one of them is at another revision.
    """
    # In one order everywhere, so that no two transactions wait for each other.
    for name in sorted(parts):
        part = parts[name]
        if part.revision:
            touched = tx.run(
                "UPDATE learned SET state = :state, revision = revision + 1, updated_at = :now"
                " WHERE owner = :owner AND name = :name AND revision = :revision",
                state=part.state,
                now=now,
                owner=owner,
                name=name,
                revision=part.revision,
            )
        else:
            touched = tx.run(
                "INSERT INTO learned (owner, name, state, updated_at) VALUES (:owner, :name,"
                " :state, :now) ON CONFLICT (owner, name) DO NOTHING",
                owner=owner,
                name=name,
                state=part.state,
                now=now,
            )
        if not touched:
            raise StalePartError(name)
