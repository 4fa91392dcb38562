"""Pins: the agent that an owner wants for every run that names none. Knows no scores.

Source: seed E, user preference; `docs/explanation/routing.md`.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Pin:
    """An owner's pin; there is one at most. `pinned_at` is in ms, `pinned_by` the credential."""

    owner: str
    agent_id: str
    pinned_by: str
    pinned_at: int


class PinBook(Protocol):
    """Pins on record, one for each owner at most."""

    async def get_pin(self, owner: str) -> Pin:
        """Return the owner's pin.

        Raises:
            NotFoundError: the owner has none.
        """
        ...

    async def put_pin(self, pin: Pin) -> None:
        """Store a pin in place of the owner's earlier one."""
        ...

    async def delete_pin(self, owner: str) -> None:
        """Remove the owner's pin.

        Raises:
            NotFoundError: the owner has none.
        """
        ...
