"""Pins, in memory."""

from domain.errors import NotFoundError
from domain.learning.pins import Pin


class FakePins:
    """The pins of every owner."""

    def __init__(self) -> None:
        self.pins: dict[str, Pin] = {}

    async def get_pin(self, owner: str) -> Pin:
        if owner not in self.pins:
            raise NotFoundError("no agent is pinned")
        return self.pins[owner]

    async def put_pin(self, pin: Pin) -> None:
        self.pins[pin.owner] = pin

    async def delete_pin(self, owner: str) -> None:
        await self.get_pin(owner)
        del self.pins[owner]
