"""`keys ...`: API keys, made straight in the store (no server needed) or over the API."""

from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Annotated

import typer

from bootstrap.commands.failure import CommandError
from bootstrap.commands.given import load_settings
from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, DataDir, Limit, examples
from bootstrap.commands.output import out_json, out_list
from bootstrap.commands.servers import connect
from bootstrap.commands.wire import Json, at
from bootstrap.terminal import note, out, working

keys = typer.Typer(
    help="Make, list and revoke API keys.\n\n"
    "In the store itself, no server needed; with --api-url over the API.",
    no_args_is_help=True,
)

SCOPES = ("read", "invoke", "approve", "admin", "proxy")
_COLUMNS = ("key_id", "prefix", "owner", "scopes", "created_at", "expires_at", "revoked_at", "name")
_FAR_FUTURE_DAYS = 36_500


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(keys, name="keys")


@keys.command(
    "create",
    epilog=examples(
        "orchestrator keys create laptop --scope admin",
        "orchestrator keys create ci --scope read --scope invoke --owner team-a --days 90",
        "export ORCHESTRATOR_API_KEY=$(orchestrator keys create me --scope admin)",
    ),
)
def create_key(  # noqa: PLR0913 - each option is a parameter
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", help=f"{', '.join(SCOPES)}; repeat for more."),
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option("--owner", metavar="OWNER", help="Whose runs it sees (local)."),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option("--days", min=1, max=_FAR_FUTURE_DAYS, help="How long it is valid."),
    ] = None,
    data_dir: DataDir = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once. Without --scope it may read and invoke."""
    scopes = scope or ["read", "invoke"]
    unknown = [text for text in scopes if text not in SCOPES]
    if unknown:
        raise CommandError(f"there is no scope {unknown[0]}; there are {', '.join(SCOPES)}", code=2)
    body: Json = {"name": name, "scopes": scopes}
    body |= {"owner": owner} if owner else {}
    if days:
        expires = datetime.now(UTC) + timedelta(days=days)
        body["expires_at"] = expires.isoformat(timespec="seconds")
    if api_url:
        with connect(api_url, api_key) as api:
            made = api.call("POST", "/v1/keys", body=body)
    else:
        made = _store().create_key(load_settings(data_dir=data_dir), body)
    if as_json:
        out_json(made)
    else:
        out(made["key"])
        scopes_text = ", ".join(made["scopes"])
        note(f"key {made['key_id']} of {made['owner']} ({scopes_text}); it is not shown again")
        if made.get("is_first"):
            note("from now on every request needs a key")
            _note_operator(made)


def _note_operator(made: Json) -> None:
    from domain.principal import LOCAL_OWNER  # noqa: PLC0415 - not for `--help`

    if made["owner"] != LOCAL_OWNER or "admin" not in made["scopes"]:
        note(
            "and nobody is the operator over HTTP: that takes another key, made on this machine"
            " (orchestrator keys create NAME --scope admin)"
        )


@keys.command("list", epilog=examples("orchestrator keys list"))
def list_keys(
    *,
    limit: Limit = 100,
    data_dir: DataDir = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List keys, newest first; the keys themselves are kept nowhere."""
    if api_url:
        with connect(api_url, api_key) as api:
            found = api.pages("/v1/keys", "keys", limit)
    else:
        found = _store().list_keys(load_settings(data_dir=data_dir), limit)
    out_list(found, _COLUMNS, as_json=as_json, empty="there are no keys: who is local may do all")


@keys.command("revoke", epilog=examples("orchestrator keys revoke key_01k9"))
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID")],
    *,
    data_dir: DataDir = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key, for good; a running server notices within seconds."""
    if api_url:
        with connect(api_url, api_key) as api:
            said = api.call("DELETE", at("/v1/keys/{}", key_id))
    else:
        said = _store().revoke_key(load_settings(data_dir=data_dir), key_id)
    if as_json:
        out_json(said or {"key_id": key_id, "revoked": True})
    else:
        out(f"key {key_id} is revoked")
    if said and said.get("is_last"):
        note(
            "no key is left: who is on this machine needs none any more; make another"
            " (orchestrator keys create), or set ORCHESTRATOR_AUTH=on"
        )


def _store() -> ModuleType:
    with working("loading the store"):
        from bootstrap.commands import key_store  # noqa: PLC0415 - databases: not for `--help`

    return key_store
