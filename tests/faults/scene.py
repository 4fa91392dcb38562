"""A world with one process after another, the stubs around it, and what a play in it is."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.books import Books
from tests.rig.roles import Role
from tests.rig.world import World
from tests.stub.ledger import Ledger


@dataclass
class Scene:
    """A world with one process after another, and the stubs around it."""

    world: World
    ledger: Ledger
    ledger_url: str
    agent_url: str
    role: Role

    @property
    def url_args(self) -> str:
        return json.dumps({"url": self.ledger_url})


Played = Callable[[Books], None]
"""Looks at the books once all is at rest."""
Play = Callable[[Scene], Awaitable[Played]]
"""A client's part: runs beside the crashes, and only waits where a client would."""
