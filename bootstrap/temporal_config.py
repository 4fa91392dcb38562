"""How Temporal is reached: what `TEMPORAL_*` and Temporal's own file say, mistakes in words.

The SDK reads them; it says what is wrong in its own words, or not at all.
"""

import os
from pathlib import Path

from temporalio.envconfig import ClientConfig, ClientConnectConfig

from domain.errors import SetupError

FILE = "TEMPORAL_CONFIG_FILE"
PROFILE = "TEMPORAL_PROFILE"
_NO_PROFILE = "Profile "
_SDKS_HEADS = ("Configuration loading error: ", "Invalid configuration: ")


def load_connect_config() -> ClientConnectConfig:
    """Return what a client is connected with.

    Raises:
        SetupError: a setting cannot be used; names it, and what to do.
    """
    _require_file()
    try:
        return ClientConfig.load_client_connect_config()
    except OSError as error:
        raise SetupError(_unread(error)) from error
    except (RuntimeError, ValueError, TypeError) as error:
        # The SDK's own error is a RuntimeError; some values it hands to Python, which refuses them.
        raise SetupError(_refused(str(error))) from error


def refused(error: ValueError) -> SetupError:
    """Return the error for settings that the SDK reads but makes no connection of."""
    return SetupError(
        f"what TEMPORAL_ADDRESS, TEMPORAL_TLS_* or {_file()} says cannot be used: {error}"
    )


def _require_file() -> None:
    """Refuse a file that was named and is not there: the SDK goes on as if none had been."""
    named = os.environ.get(FILE)
    if named and not Path(named).is_file():
        raise SetupError(
            f"{FILE} names {named}, which is no file; name Temporal's TOML file there, or unset it"
        )


def _unread(error: OSError) -> str:
    """Say which setting names a file of TLS that cannot be read."""
    path = str(error.filename or "a file")
    names = [name for name, value in os.environ.items() if _is_path(name) and value == path]
    where = names[0] if names else f"the profile in {_file()}"
    return f"{where} names {path}, which cannot be read: {error.strerror}; correct the path"


def _is_path(name: str) -> bool:
    return name.startswith("TEMPORAL_TLS_") and name.endswith("_PATH")


def _refused(said: str) -> str:
    """Say what is wrong of what the SDK does not take."""
    if said.startswith(_NO_PROFILE):
        name = os.environ.get(PROFILE, "default")
        return (
            f"{PROFILE} names the profile {name}, which is not in {_file()}; add [profile.{name}]"
            f" there, name another, or unset {PROFILE}"
        )
    loading, invalid = _SDKS_HEADS
    if said.startswith(loading):
        reason = _one_line(said.removeprefix(loading))
        return f"{_file()} cannot be read: {reason}; mend it, or name another in {FILE}"
    return f"a setting TEMPORAL_* cannot be used: {_one_line(said.removeprefix(invalid))}"


def _one_line(said: str) -> str:
    """Leave out the excerpt that a TOML error is drawn with."""
    lines = [line.strip() for line in said.splitlines()]
    kept = [line for line in lines if line and "|" not in line]
    return ": ".join(kept)


def _file() -> str:
    """Return where Temporal's own configuration is, as a sentence names it."""
    named = os.environ.get(FILE)
    return f"{named} ({FILE})" if named else "Temporal's own configuration file"
