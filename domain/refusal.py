"""What a model's provider said when it refused a request. Knows no provider."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProviderRefusal:
    """A provider's refusal in its own words, for callers who know its error codes."""

    status: int
    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None
