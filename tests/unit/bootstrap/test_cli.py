"""The command line: what it prints, where, and with which exit code."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bootstrap import cli
from bootstrap.commands import doctor as doctor_command
from bootstrap.commands.failure import CommandError
from domain.errors import SetupError
from tests.unit.bootstrap.conftest import Command

HEAVY = (
    *("temporalio", "fastapi", "sqlalchemy", "alembic", "pydantic", "pydantic_settings", "httpx2"),
    *("anthropic", "openai", "uvicorn", "structlog", "rich", "google"),
)
NOUNS = ("runs", "agents", "sessions", "tools", "keys", "config")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy() -> None:
    done = run_python(
        "import sys\nfrom bootstrap.cli import run_command\ncode = run_command(['--help'])\n"
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules])"
    )

    assert done.stdout.splitlines()[-1] == "0 []"


def test_help_costs_less_than_a_few_bare_interpreters() -> None:
    """The bar is 0.4 s; on a busy machine the bare interpreter beside it takes longer too."""
    ratios = []
    for _ in range(3):
        bare = seconds_of("import typer")
        ratios.append(seconds_of("from bootstrap.cli import main; main(['--help'])") / bare)

    assert min(ratios) < 4


def seconds_of(code: str) -> float:
    started = time.perf_counter()
    assert run_python(code).returncode == 0
    return time.perf_counter() - started


def test_help_names_every_command(command: Command) -> None:
    said = command("--help")

    names = ("up", "api", "worker", "demo", "run", "doctor", "version", *NOUNS)
    assert said.code == 0
    assert all(f"\n  {name} " in said.out for name in names)


@pytest.mark.parametrize("arguments", [[], ["runs"], ["keys"]])
def test_without_a_verb_there_is_help(command: Command, arguments: list[str]) -> None:
    said = command(*arguments)

    assert said.code == 2
    assert "Commands:" in said.out + said.err


@pytest.mark.parametrize(
    "path",
    [
        *[[name] for name in ("up", "api", "worker", "demo", "run", "doctor", "version")],
        *[["runs", verb] for verb in ("list", "show", "events", "tail", "cancel")],
        *[["agents", verb] for verb in ("list", "show", "register", "delete")],
        *[["sessions", verb] for verb in ("list", "messages", "clear")],
        *[["tools", verb] for verb in ("list", "call")],
        *[["keys", verb] for verb in ("create", "list", "revoke")],
        *[["config", verb] for verb in ("show", "schema")],
    ],
)
def test_every_command_explains_itself_with_an_example(command: Command, path: list[str]) -> None:
    said = command(*path, "--help")

    assert said.code == 0
    assert "Examples:\n" in said.out
    assert f"orchestrator {' '.join(path)}" in said.out
    assert path == ["demo"] or "--json" in said.out


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["runs", "show"], ["runs", "list", "--limit", "x"], ["up", "--port", "70000"]],
)
def test_a_misspelt_command_exits_2_and_says_how(command: Command, arguments: list[str]) -> None:
    said = command(*arguments)

    assert said.code == 2
    assert "Error: " in said.err
    assert said.out == ""


def test_without_a_server_there_is_one_sentence(command: Command, tmp_path: Path) -> None:
    said = command("runs", "list")

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"Error: no orchestrator runs on the data folder {tmp_path}/data;")
    assert said.err.count("\n") == 1


def test_a_server_that_does_not_answer_is_one_sentence(command: Command) -> None:
    said = command("runs", "list", "--api-url", "http://127.0.0.1:1")

    assert said.code == 1
    assert said.err.startswith("Error: http://127.0.0.1:1 cannot be reached: ")


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://"])
def test_an_address_that_is_none_is_a_usage_error(command: Command, url: str) -> None:
    said = command("runs", "list", "--api-url", url)

    assert said.code == 2
    assert "is no address" in said.err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (CommandError("a sentence\x1b[31m"), 1, "Error: a sentence\\u001b[31m\n"),
        (CommandError("misspelt", code=2), 2, "Error: misspelt\n"),
        (SetupError("cannot start"), 1, "Error: cannot start\n"),
        (
            PermissionError(13, "Permission denied", "/x"),
            1,
            "Error: [Errno 13] Permission denied: '/x'\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_every_failure_has_its_code_and_at_most_a_sentence(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(doctor_command, "load_settings", fail)

    said = command("doctor")

    assert (said.code, said.err) == (code, text)


def test_a_bug_says_that_it_is_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "load_settings", lambda **_: 1 / 0)

    said = command("doctor")

    assert said.code == 1
    assert "Error: this is a bug: ZeroDivisionError: division by zero" in said.err
    assert "Traceback" in said.err


def test_main_leaves_with_the_code_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(cli, "leave", left.append)
    monkeypatch.setattr(sys, "argv", ["orchestrator", "nonsense"])

    cli.main()
    cli.main(["version"])

    assert left == [2, 0]


def test_a_reader_that_goes_away_is_no_trouble(tmp_path: Path) -> None:
    """`orchestrator ... | head` ends quietly."""
    program = [sys.executable, "-m", "bootstrap.cli", "config", "schema"]
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    process = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=tmp_path
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()

    assert b"Traceback" not in err
