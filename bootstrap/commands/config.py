"""`config ...`: the settings as they count, and what there is to set."""

import re
from typing import Any

import typer

from bootstrap.commands.given import load_settings, names_of, origin_of
from bootstrap.commands.options import AsJson, examples
from bootstrap.commands.output import out_json, out_list
from bootstrap.logs.redaction import MASK, Redactor, secrets_of

_USERINFO = re.compile(r"://([^/?#\s]*)@")
_OPTION = re.compile(r"(?<=[?&]password=)[^&#\s]+", re.IGNORECASE)

config = typer.Typer(
    help="The settings as they count, and what there is to set.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(config, name="config")


@config.command(
    "show", epilog=examples("orchestrator config show", "orchestrator config show --json")
)
def show_config(as_json: AsJson = False) -> None:
    """Print every setting with its value; secrets are masked.

    Command line, environment, .env, orchestrator.toml, defaults: the first that says something.
    """
    settings = load_settings()
    redact = Redactor(secrets_of(settings))
    rows = []
    shown: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        value = _plain(getattr(settings, name), redact)
        shown[name] = value
        origin = origin_of(settings, name)
        rows.append(
            {"setting": name, "env": names_of(name, field)[0], "from": origin, "value": value}
        )
    if as_json:
        out_json(shown)
    else:
        out_list(rows, ("env", "from", "value"), as_json=False, empty="")


@config.command("schema", epilog=examples("orchestrator config schema > settings.schema.json"))
def show_schema(as_json: AsJson = True) -> None:
    """Print the JSON Schema of orchestrator.toml."""
    from bootstrap.settings import Settings  # noqa: PLC0415 - 0.3 s that `--help` saves

    schema = Settings.model_json_schema(by_alias=False)
    schema["additionalProperties"] = False
    if as_json:
        out_json(schema)


def _plain(value: object, redact: Redactor) -> object:
    """Return a value as JSON can show it, without secrets."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "get_secret_value"):
        return MASK
    if isinstance(value, tuple):
        return [_without_userinfo(redact(str(item))) for item in value]
    return _without_userinfo(redact(str(value)))


def _without_userinfo(text: str) -> str:
    """Return a setting without the password, or the token, of a URL in it, however short it is."""
    return _OPTION.sub(MASK, _USERINFO.sub(_masked, text))


def _masked(found: re.Match[str]) -> str:
    user, colon, _ = found[1].partition(":")
    return f"://{user + colon if colon else ''}{MASK}@"
