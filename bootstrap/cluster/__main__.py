"""`make cluster`: the roles of production as processes, without containers.

PostgreSQL, a real Temporal server on it, one `orchestrator api` and two `orchestrator worker`s;
then a command against them, or Ctrl-C; then everything that was started here ends. `DATABASE_URL`
and `TEMPORAL_ADDRESS`, where they are set, are used instead of what would be started.

    python -m bootstrap.cluster [--bare] [COMMAND ARGUMENTS...]

The command finds `DATABASE_URL`, `TEMPORAL_ADDRESS` and `ORCHESTRATOR_API_URL` in its environment.
`--bare` leaves our own roles out, for commands that start them themselves.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path

from bootstrap.cluster.postgres import OwnPostgres
from bootstrap.cluster.temporal import OwnTemporal
from bootstrap.devserver.find import to_stderr
from bootstrap.devserver.process import ServerProcess, free_port
from bootstrap.exit import leave
from domain.errors import SetupError

DATABASE = "orchestrator"
"""Our own database, beside Temporal's two."""

_WORKERS = 2
_READY_TIMEOUT = timedelta(seconds=120)
_STOP_GRACE = timedelta(seconds=12)


async def run(command: Sequence[str], *, is_bare: bool) -> int:
    """Start the cluster, run the command against it, end it; return the command's exit code.

    Raises:
        SetupError: a part did not start; the others are ended.
    """
    async with AsyncExitStack() as stack:
        folder = _make_folder()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = await _start_services(folder, stack)
        if not is_bare:
            environment["ORCHESTRATOR_API_URL"] = await _start_roles(folder, environment, stack)
        for name in ("DATABASE_URL", "TEMPORAL_ADDRESS", "ORCHESTRATOR_API_URL"):
            to_stderr(f"{name}={environment.get(name, '')}")
        if command:
            return await _run_command(command, environment)
        to_stderr("the cluster is up; Ctrl-C ends it")
        await asyncio.Event().wait()
    return 0


def _make_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-cluster-"))
    folder.chmod(0o755)  # PostgreSQL may run as another user
    return folder


async def _start_services(folder: Path, stack: AsyncExitStack) -> dict[str, str]:
    """Start what is not named by the environment; return the environment of the roles."""
    environment = dict(os.environ)
    if "DATABASE_URL" in environment and "TEMPORAL_ADDRESS" in environment:
        return environment
    to_stderr("starting PostgreSQL")
    postgres = OwnPostgres(folder / "postgres")
    stack.callback(postgres.stop)
    address = await asyncio.to_thread(postgres.start, DATABASE)
    environment.setdefault("DATABASE_URL", address.url(DATABASE))
    if "TEMPORAL_ADDRESS" not in environment:
        to_stderr("starting the Temporal server")
        temporal = OwnTemporal(folder, address)
        stack.push_async_callback(temporal.stop)
        environment["TEMPORAL_ADDRESS"] = await temporal.start()
    return environment


async def _start_roles(folder: Path, environment: Mapping[str, str], stack: AsyncExitStack) -> str:
    """Start one API and the workers; return the API's URL once it says that it is ready."""
    to_stderr(f"starting the API and {_WORKERS} workers")
    port = int(environment.get("ORCHESTRATOR_PORT", "0"))
    port = free_port("127.0.0.1", port, "the API")
    processes = []
    for name in ("api", *(f"worker-{number}" for number in range(1, _WORKERS + 1))):
        process = await ServerProcess.spawn(
            [str(Path(sys.executable).with_name("orchestrator")), name.partition("-")[0]],
            folder / f"{name}.log",
            {
                **environment,
                "ORCHESTRATOR_PORT": str(port),
                "ORCHESTRATOR_DATA_DIR": str(folder / name),
            },
        )
        stack.push_async_callback(process.stop, _STOP_GRACE)
        processes.append(process)
    url = f"http://127.0.0.1:{port}"
    await _wait_ready(url, processes)
    return url


async def _wait_ready(url: str, processes: Sequence[ServerProcess]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_READY_TIMEOUT.total_seconds()):
            while all(process.is_running for process in processes):
                if await asyncio.to_thread(_is_ready, url):
                    return
                await asyncio.sleep(0.1)
    ends = " | ".join(process.log_end() for process in processes)
    raise SetupError(f"The roles at {url} did not become ready: {ends}")


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2):  # noqa: S310 - our own loopback
            return True
    except (urllib.error.HTTPError, OSError):
        return False


async def _run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command with the virtual environment's programs first on its PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    process = await asyncio.create_subprocess_exec(*command, env={**environment, "PATH": path})
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _main(arguments: Sequence[str]) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    is_bare = arguments[:1] == ["--bare"]
    try:
        return await run(arguments[is_bare:], is_bare=is_bare)
    except SetupError as error:
        to_stderr(str(error))
        return 1
    except asyncio.CancelledError:
        to_stderr("stopped")
        return 130


if __name__ == "__main__":
    leave(asyncio.run(_main(sys.argv[1:])))
