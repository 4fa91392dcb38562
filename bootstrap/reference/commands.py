"""The reference pages of the command line and of the settings, made from the code."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from bootstrap import settings as settings_module
from bootstrap.cli import build_app
from bootstrap.commands.given import names_of
from bootstrap.settings import Settings

_ELSEWHERE = (
    ("TEMPORAL_ADDRESS", "Use this Temporal server; left out, `up` brings its own."),
    ("TEMPORAL_NAMESPACE", "Its namespace (default)."),
    ("TEMPORAL_API_KEY, TEMPORAL_TLS, TEMPORAL_TLS_...", "As the Temporal SDK reads them."),
    ("TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE", "Temporal's own configuration file."),
    ("TEMPORAL_CLI_PATH", "The `temporal` binary to embed, and no other."),
    (
        "ORCHESTRATOR_CACHE_DIR",
        "Where the dev server's binary is kept; `make` keeps uv there too and reads no `.env`.",
    ),
)
"""What is read from the environment and from `.env`, and is no setting."""
_ENVIRONMENT_ONLY = (
    ("ORCHESTRATOR_API_KEY", "The key that commands show the API."),
    ("NO_COLOR, FORCE_COLOR", "No colours; colours where there is no terminal."),
)


def cli_page() -> str:
    """Return the page of every command."""
    group = typer.main.get_command(build_app())
    lines = [
        "# Command line",
        "",
        "Generated from `bootstrap/commands/`. Answers go to stdout, everything else to stderr."
        " `--json` prints JSON.",
        "Exit codes: 0 it did, 1 it could not (one sentence says why), 2 it was misspelt, 130"
        " interrupted.",
    ]
    for path, command in _leaves(group, ()):
        lines += _command(path, command)
    return "\n".join(lines) + "\n"


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from _leaves(child, (*path, name))


def _command(path: str, command: Any) -> list[str]:  # noqa: ANN401 - typer's own classes
    text = inspect.cleandoc(command.help or "")
    shown = [one for one in command.params if one.name != "help"]
    arguments = " ".join(_placeholder(one) for one in shown if one.param_type_name == "argument")
    usage = f"orchestrator {path} {arguments}".rstrip()
    lines = ["", f"## {path}", "", text, "", f"`{usage} [OPTIONS]`", "", "| | |", "|---|---|"]
    lines += [f"| {_spelling(one)} | {_meaning(one)} |" for one in shown]
    return [*lines, "", "```console", *_examples(command), "```"]


def _placeholder(argument: Any) -> str:  # noqa: ANN401 - typer's own classes
    name = argument.metavar or str(argument.name).upper()
    return name if argument.required else f"[{name}]"


def _spelling(option: Any) -> str:  # noqa: ANN401 - typer's own classes
    if option.param_type_name == "argument":
        return f"`{_placeholder(option)}`"
    value = "" if option.is_flag else f" {option.metavar or 'N'}"
    return f"`{', '.join(option.opts)}{value}`"


def _meaning(option: Any) -> str:  # noqa: ANN401 - typer's own classes
    text = option.help or ""
    if getattr(option, "envvar", None):
        text += f" Environment: `{option.envvar}`."
    if option.default not in (None, False, True, ()) and not option.required:
        text += f" Default: `{option.default}`."
    return _cell(text)


def _examples(command: Any) -> list[str]:  # noqa: ANN401 - typer's own classes
    _, _, text = (command.epilog or "").partition("Examples:\n")
    return [f"$ {line.strip()}" for line in text.splitlines()]


def settings_page() -> str:
    """Return the page of every setting."""
    said = documented()
    lines = [
        "# Settings",
        "",
        "Generated from `bootstrap/settings.py`. Command line, environment, `.env`,"
        " `orchestrator.toml`, defaults: the first that says something counts. In",
        "`orchestrator.toml` a setting has its first name in lower case, with or without"
        " `orchestrator_`; a key that is not known is refused.",
        "A variable `ORCHESTRATOR_...` that is no setting does nothing; whatever reads settings"
        " (`up`, `api`, `worker`, `doctor`, `config`) names it on stderr.",
        "`orchestrator config show` prints what counts, secrets masked.",
        "",
        "| environment | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        names = "<br>".join(f"`{one}`" for one in names_of(name, field))
        standard = field.get_default(call_default_factory=True, validated_data={})
        default = "" if standard in (None, (), {}) else f"`{standard}`"
        lines.append(f"| {names} | {default} | {_cell(said[name])} |")
    lines += _others("Read from the environment and from `.env`, not from the file:", _ELSEWHERE)
    lines += _others("Read from the environment only:", _ENVIRONMENT_ONLY)
    return "\n".join(lines) + "\n"


def _others(title: str, named: tuple[tuple[str, str], ...]) -> list[str]:
    rows = [f"| {_code(names)} | {text} |" for names, text in named]
    return ["", title, "", "| environment | meaning |", "|---|---|", *rows]


def documented() -> dict[str, str]:
    """Return what each setting means.

    Raises:
        KeyError: a setting has no words.
    """
    own = _attribute_docstrings(Path(inspect.getfile(settings_module)).read_text("utf-8"))
    return {name: own[name] for name in Settings.model_fields}


def _attribute_docstrings(source: str) -> dict[str, str]:
    """Return the strings that stand below the attributes of classes."""
    found: dict[str, str] = {}
    for cls in (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)):
        for before, after in zip(cls.body, cls.body[1:], strict=False):
            if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
                text = _string(after)
                if text:
                    found[before.target.id] = re.sub(r"\s+", " ", text).strip()
    return found


def _string(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value if isinstance(node.value.value, str) else None
    return None


def _code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
