"""The command line. `main` is the entry point of the `orchestrator` script.

Only what `--help` needs is imported here and by the commands; a test measures it.
"""

import contextlib
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper

import typer

from bootstrap.commands import processes
from bootstrap.commands.failure import CommandError
from bootstrap.exit import leave
from bootstrap.terminal import harmless, note
from domain.errors import OrchestratorError

INTERRUPTED = 130
_HELP = "A durable agent orchestrator: work that survives any crash, and streams as it happens."


def build_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the program, or of it what `arguments` may mean: who serves needs no other command."""
    app = typer.Typer(
        name="orchestrator",
        help=_HELP,
        epilog="\b\nStart with:\n  orchestrator demo\n  orchestrator up\n"
        '  orchestrator run "What is 6 * 7?"',
        no_args_is_help=True,
        # rich would cost a third of the time `--help` may take.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    if arguments and arguments[0] in processes.NAMES:
        processes.add_to(app)
        return app
    from bootstrap.commands.groups import GROUPS  # noqa: PLC0415 - see above

    for group in GROUPS:
        group.add_to(app)
    return app


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0 it did, 1 it could not, 2 it was misspelt."""
    try:
        code = build_app(arguments)(
            args=list(arguments), prog_name="orchestrator", standalone_mode=False
        )
    except typer.TyperException as error:
        _show_usage(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except CommandError as error:
        return _fail(error.message, error.code)
    except OrchestratorError as error:
        return _fail(error.message)
    except OSError as error:
        # A folder that cannot be written to, a disk that is full: nothing of ours is broken.
        return _fail(str(error) or type(error).__name__)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:  # noqa: BLE001 - the last place that can say a sentence
        traceback.print_exc()
        return _fail(f"this is a bug: {type(error).__name__}: {error}")
    return code if isinstance(code, int) else 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command of this process and leave."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # What a model says may hold letters that this terminal cannot show.
            stream.reconfigure(errors="replace")
    leave(run_command(sys.argv[1:] if arguments is None else arguments))


def _fail(message: str, code: int = 1) -> int:
    with contextlib.suppress(OSError):
        note(f"Error: {harmless(message)}")
    return code


def _show_usage(error: typer.TyperException) -> None:
    show = getattr(error, "show", None)
    if show is not None:
        show()
    else:
        note(f"Error: {error.message}")


if __name__ == "__main__":
    main()
