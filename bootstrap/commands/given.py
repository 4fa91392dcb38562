"""The settings of a command: what its options say, above what the environment and files say."""

import difflib
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain.errors import SetupError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

    from bootstrap.settings import Settings


def load_settings(**options: object) -> "Settings":
    """Return the settings; an option that is None was not given.

    Raises:
        SetupError: a value or a key of the file is not understood; names it.
    """
    # `--help` does without: 0.3 s.
    from pydantic import ValidationError  # noqa: PLC0415
    from pydantic_settings import SettingsError  # noqa: PLC0415

    from bootstrap.settings import Settings  # noqa: PLC0415

    _adopt_temporal_names()
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    _refuse_unknown_keys(Path("orchestrator.toml"))
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SetupError(_sentence(error)) from error
    except (SettingsError, OSError) as error:
        raise SetupError(f"the settings cannot be read: {error}") from error


def _adopt_temporal_names() -> None:
    """Take from `.env` what is not read through the settings: the SDK looks at the environment."""
    from dotenv import dotenv_values  # noqa: PLC0415 - loaded by the settings

    for name, value in dotenv_values(".env").items():
        if value and (name.startswith("TEMPORAL_") or name == "ORCHESTRATOR_CACHE_DIR"):
            os.environ.setdefault(name, value)


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
    known = {
        name.lower()
        for field, info in Settings.model_fields.items()
        for name in (field, *names_of(field, info))
    }
    for key in sorted(keys - known):
        near = difflib.get_close_matches(key, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SetupError(f"{path} has the unknown key {key}{hint}")


def _sentence(error: "ValidationError") -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    return f"the setting {name.upper()} is not usable: {first['msg']}"
