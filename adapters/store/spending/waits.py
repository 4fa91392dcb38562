"""The line in front of a provider's rate: who asked first has it first, over all workers."""

from adapters.store.database.tx import Tx

_GRACE_MS = 10_000
"""How late a waiter may come back before its place is given up."""
_STAND = (
    "INSERT INTO rate_waits (name, waiter, need_milli, asked_at, until)"
    " VALUES (:name, :waiter, :need, :now, :until) ON CONFLICT (name, waiter) DO UPDATE SET"
    " need_milli = excluded.need_milli, until = excluded.until"
)


def ahead_of(tx: Tx, name: str, waiter: str | None, now: int) -> int:
    """Return what those in front of a waiter need of a (locked) bucket, in thousandths.

    One that stands in no line comes after all.
    """
    ahead = 0
    for row in tx.all(
        "SELECT waiter, need_milli FROM rate_waits WHERE name = :name AND until >= :now"
        " ORDER BY asked_at, waiter",
        name=name,
        now=now,
    ):
        if row["waiter"] == waiter:
            break
        ahead += row["need_milli"]
    return ahead


def stand(tx: Tx, name: str, waiter: str, need: int, now: int, wait: int) -> None:
    """Take, or keep, a place; those that gave theirs up are gone."""
    tx.run("DELETE FROM rate_waits WHERE name = :name AND until < :now", name=name, now=now)
    until = now + wait + _GRACE_MS
    tx.run(_STAND, name=name, waiter=waiter, need=need, now=now, until=until)


def leave(tx: Tx, waiter: str) -> None:
    """Give up every place of a waiter that has what it waited for."""
    tx.run("DELETE FROM rate_waits WHERE waiter = :waiter", waiter=waiter)
