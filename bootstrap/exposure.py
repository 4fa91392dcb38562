"""Whether a server may listen where it is asked to. Opens no socket and no store."""

from ipaddress import ip_address
from typing import TYPE_CHECKING

from domain.errors import SetupError

if TYPE_CHECKING:
    from bootstrap.settings import Settings


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; a name other than localhost never counts."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(settings: "Settings", has_keys: bool) -> None:
    """Refuse to listen where others can reach us while no API key exists.

    Raises:
        SetupError: says how to make a key, and where it may listen without one.
    """
    if has_keys or is_loopback(settings.host):
        return
    raise SetupError(
        f"Refusing to listen on {settings.host or 'every address'} without an API key: whoever "
        "reaches this machine could run agents. Make a key with `orchestrator keys create NAME "
        "--scope admin`, or listen on 127.0.0.1."
    )
