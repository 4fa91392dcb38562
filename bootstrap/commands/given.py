"""The settings of a command: what its options say, above what the environment and files say."""

import difflib
import os
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.terminal import note
from domain.errors import SetupError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

    from bootstrap.settings import Settings

_NO_SETTINGS = frozenset({"ORCHESTRATOR_API_KEY", "ORCHESTRATOR_CACHE_DIR"})
"""Read where they are needed."""


def load_settings(**options: object) -> "Settings":
    """Return the settings; an option that is None was not given.

    Raises:
        SetupError: a value or a key of the file is not understood; names it.
    """
    # `--help` does without: 0.3 s.
    from pydantic import ValidationError  # noqa: PLC0415
    from pydantic_settings import SettingsError  # noqa: PLC0415

    from bootstrap import pace  # noqa: PLC0415 - as above

    with pace.late_models():
        from bootstrap.settings import Settings  # noqa: PLC0415

    _adopt_temporal_names()
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    _refuse_unknown_keys(Path("orchestrator.toml"))
    _note_unknown_variables()
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise SetupError(_sentence(error)) from error
    except (SettingsError, OSError) as error:
        raise SetupError(f"the settings cannot be read: {error}") from error
    _refuse_one_port_for_two(settings)
    return settings


def _refuse_one_port_for_two(settings: "Settings") -> None:
    """Refuse the API's port for a Temporal server of our own too; one elsewhere has its own."""
    if os.environ.get("TEMPORAL_ADDRESS") or not settings.port:
        return
    for name, port in (
        ("ORCHESTRATOR_TEMPORAL_PORT", settings.temporal_port),
        ("ORCHESTRATOR_TEMPORAL_UI_PORT", settings.temporal_ui_port),
    ):
        if port == settings.port:
            raise SetupError(
                f"ORCHESTRATOR_PORT and {name} are both {port}: choose another for one of them"
            )


def _adopt_temporal_names() -> None:
    """Take from `.env` what is not read through the settings: the SDK looks at the environment."""
    for name, value in _dotenv().items():
        if value and (name.startswith("TEMPORAL_") or name == "ORCHESTRATOR_CACHE_DIR"):
            os.environ.setdefault(name, value)


def _dotenv() -> dict[str, str | None]:
    from dotenv import dotenv_values  # noqa: PLC0415 - loaded by the settings

    return dotenv_values(".env")


def origin_of(settings: "Settings", name: str) -> str:
    """Say where the value of a setting came from; nothing for a default."""
    field = type(settings).model_fields[name]
    names = names_of(name, field)
    if any(one.upper() in names for one in os.environ):
        return "environment"
    if any(one.upper() in names for one in _dotenv()):
        return ".env"
    return "orchestrator.toml" if name in settings.model_fields_set else ""


def names_of(name: str, field: "FieldInfo") -> list[str]:
    """Return the environment variables that a setting is read from, the first one preferred."""
    alias = field.validation_alias
    choices = getattr(alias, "choices", None) or [alias or name]
    return [str(choice).upper() for choice in choices]


def _refuse_unknown_keys(path: Path) -> None:
    from bootstrap.settings import Settings  # noqa: PLC0415 - loaded by the caller

    try:
        keys = set(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SetupError(f"{path} cannot be read: {error}") from error
    known = _known_variables() | set(Settings.model_fields)
    for key in sorted(keys - {name.lower() for name in known}):
        hint = _hint(key, {name.lower() for name in known})
        raise SetupError(f"{path} has the unknown key {key}{hint}")


def _note_unknown_variables() -> None:
    """Name variables with our prefix that mean nothing; another version may know them."""
    from bootstrap.settings import PREFIX  # noqa: PLC0415 - loaded by the caller

    known = _known_variables() | _NO_SETTINGS
    for name in sorted({one.upper() for one in (*os.environ, *_dotenv())} - known):
        if name.startswith(PREFIX):
            ours = {one.removeprefix(PREFIX) for one in known if one.startswith(PREFIX)}
            hint = _hint(name.removeprefix(PREFIX), ours, PREFIX)
            note(f"note: {name} is no setting and does nothing{hint}")


def _known_variables() -> set[str]:
    from bootstrap.settings import Settings  # noqa: PLC0415 - loaded by the caller

    return {name for field, info in Settings.model_fields.items() for name in names_of(field, info)}


def _hint(name: str, known: Collection[str], before: str = "") -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {before}{near[0]}?" if near else ""


def _sentence(error: "ValidationError") -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    return f"the setting {name.upper()} is not usable: {first['msg']}"
