"""`tools host`: run Python functions as a tool host of an orchestrator elsewhere."""

import asyncio
import importlib
import os
import platform
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bootstrap.commands.failure import CommandError
from bootstrap.commands.options import ApiKey, ApiUrl, examples
from bootstrap.commands.servers import connect
from bootstrap.commands.tools import tools

if TYPE_CHECKING:
    from adapters.tools.decorator import FunctionTool

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_.-]+")


def add_to(_app: typer.Typer) -> None:
    """Nothing to add: the command belongs to the group `tools`."""


@tools.command(
    "host",
    epilog=examples(
        "orchestrator tools host examples/client_tools.py",
        "orchestrator tools host my_tools:scan my_tools:print_page --api-url https://agents.example",
    ),
)
def host(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...", help="module, module:name, or a file of @tool functions."
        ),
    ],
    *,
    host_id: Annotated[
        str | None, typer.Option("--host-id", metavar="ID", help="Default: this machine's name.")
    ] = None,
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, max=100, help="Calls at a time.")
    ] = 4,
    lease: Annotated[
        float,
        typer.Option(
            "--lease", min=1, max=3600, help="Seconds without news before we count as gone."
        ),
    ] = 30.0,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Run functions of yours as tools of every agent that names them, until Ctrl-C."""
    found = [tool for target in targets for tool in _load(target)]
    with connect(api_url, api_key) as api:
        url = api.url
    _serve(url, api_key, found, (host_id or _machine(), parallel, lease))


def _serve(
    url: str, key: str | None, found: list["FunctionTool"], how: tuple[str, int, float]
) -> None:
    # httpx2 and pydantic: what `--help` saves.
    from adapters.tools.registry import ToolRegistry  # noqa: PLC0415
    from bootstrap.toolhost import HostOptions, run_host  # noqa: PLC0415

    host_id, parallel, lease = how
    options = HostOptions(host_id=host_id, parallel=parallel, lease_seconds=lease)

    async def serve() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await run_host(url, key, ToolRegistry(found), options, stopping)

    asyncio.run(serve())


def _machine() -> str:
    return _NOT_IN_AN_ID.sub("-", platform.node()).strip("-._")[:90] or "host"


def _load(target: str) -> list["FunctionTool"]:
    """Return the tools that a target names.

    Raises:
        CommandError: there are none.
    """
    from adapters.tools.decorator import FunctionTool  # noqa: PLC0415 - pydantic: `--help` saves it
    from adapters.tools.loading import load_tools  # noqa: PLC0415 - as above

    if target.endswith(".py"):
        path = Path(target).resolve()
        sys.path.insert(0, str(path.parent))
        # Blocking tools run in child processes, which have to find the module too.
        old = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(path.parent), old)))
        target = path.stem
    if ":" in target:
        return load_tools([target])
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(target)
    except ImportError as error:
        raise CommandError(f"{target} cannot be imported: {error}", code=2) from error
    found = [one for one in vars(module).values() if isinstance(one, FunctionTool)]
    if not found:
        raise CommandError(f"{target} has no functions with @tool", code=2)
    return found
