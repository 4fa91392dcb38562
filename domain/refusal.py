"""What an error has to say besides its sentence. Knows no provider and no store."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProviderRefusal:
    """A provider's refusal in its own words, for callers who know its error codes."""

    status: int
    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """The answer that a later one came after: approved or rejected, by whom, and when in ms."""

    decision: str
    decided_by: str | None
    decided_at: int | None
