"""What single users think of agents: their ratings. Knows no more of a user than a name."""

from pydantic import BaseModel, ConfigDict, Field

PRIOR = 2.0
"""Ratings that the agent's mean counts for."""
MOST_USERS = 1000
"""Users that are remembered; whoever rated nothing for longest goes."""
_MOST_AGENTS = 50


class Ratings(BaseModel):
    """The ratings of one user for one agent, each in 0..1."""

    model_config = ConfigDict(frozen=True)

    count: int = 0
    total: float = 0.0


class Preferences(BaseModel):
    """Every user's ratings, by user and agent."""

    model_config = ConfigDict(frozen=True)

    users: dict[str, dict[str, Ratings]] = Field(default_factory=dict)

    def after(self, user: str, agent_id: str, score: float) -> "Preferences":
        """Return what is known after a rating of -1..1."""
        rating = (min(1.0, max(-1.0, score)) + 1) / 2
        mine = dict(self.users.get(user, {}))
        old = mine.pop(agent_id, Ratings())
        now = Ratings(count=old.count + 1, total=old.total + rating)
        kept = {**dict([*mine.items()][-_MOST_AGENTS + 1 :]), agent_id: now}
        others = {name: rated for name, rated in self.users.items() if name != user}
        return Preferences(users={**dict([*others.items()][-MOST_USERS + 1 :]), user: kept})

    def preference(self, user: str, agent_id: str, mean: float) -> float:
        """Return how a user likes an agent, 0..1, shrunk to the agent's mean."""
        rated = self.users.get(user, {}).get(agent_id, Ratings())
        return (rated.total + PRIOR * mean) / (rated.count + PRIOR)
