"""How long a provider may keep us waiting. Counts meaningful events, never keep-alives."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Waits, in seconds, before an attempt is given up with `ModelTimeoutError`."""

    connect_seconds: float = 10.0
    """Until the socket is open (and TLS agreed)."""
    first_seconds: float = 120.0
    """From the request to the first meaningful event."""
    idle_seconds: float = 60.0
    """From one meaningful event to the next."""
    total_seconds: float = 900.0
    """From the request to the end, whatever arrives meanwhile."""
