"""Pins as rows, one of each owner at most. What a choice reads of them is in `standing`."""

from adapters.store.database.tx import Engine, Row, Tx
from domain.errors import NotFoundError
from domain.learning.pins import Pin

_PUT = (
    "INSERT INTO agent_pins (owner, agent_id, pinned_by, pinned_at)"
    " VALUES (:owner, :agent_id, :pinned_by, :pinned_at) ON CONFLICT (owner) DO UPDATE SET"
    " agent_id = excluded.agent_id, pinned_by = excluded.pinned_by, pinned_at = excluded.pinned_at"
)


class SqlPinBook:
    """Pins on record. Source of every promise: `domain.learning.pins.PinBook`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get_pin(self, owner: str) -> Pin:
        """Return the owner's pin."""
        row = await self._engine.read(lambda tx: find_pin(tx, owner))
        if row is None:
            raise _none()
        return Pin(row["owner"], row["agent_id"], row["pinned_by"], row["pinned_at"])

    async def put_pin(self, pin: Pin) -> None:
        """Store a pin in place of the owner's earlier one."""
        values = {
            "owner": pin.owner,
            "agent_id": pin.agent_id,
            "pinned_by": pin.pinned_by,
            "pinned_at": pin.pinned_at,
        }
        await self._engine.write(lambda tx: tx.run(_PUT, **values))

    async def delete_pin(self, owner: str) -> None:
        """Remove the owner's pin."""
        await self._engine.write(lambda tx: _delete(tx, owner))


def find_pin(tx: Tx, owner: str) -> Row | None:
    """Return the row of the owner's pin."""
    return tx.one("SELECT * FROM agent_pins WHERE owner = :owner", owner=owner)


def _delete(tx: Tx, owner: str) -> None:
    if not tx.run("DELETE FROM agent_pins WHERE owner = :owner", owner=owner):
        raise _none()


def _none() -> NotFoundError:
    return NotFoundError("no agent is pinned; PUT /v1/preferences/agent pins one")
