"""A process that has imported the product and forks `orchestrator` commands, each in milliseconds.

Starting Python and importing everything is most of what a role costs before it serves, and the
tests start hundreds. What is forked is the same command with its own environment, folder, streams
and process group, and ends by the same signals; that a plain start works is for tests in `e2e/`.

`python -m tests.rig.nursery SOCKET`: a client connects, sends its order (`orders.py`), reads the
process id and, once the process ended, its exit code; a client that goes takes its process with it.
Single-threaded, so that a fork is safe.
Knows nothing of what it starts.
"""

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterator, Sequence

from genai_prices.data_snapshot import get_snapshot
from pydantic import BaseModel

from api.bodies import JsonRoute
from api.late import LateRoute
from bootstrap.devserver.launch import tie_to_parent
from tests.rig.orders import Order, receive

PRELOADED = (
    "bootstrap.cli",
    "bootstrap.parts",
    "bootstrap.supervisor",
    "bootstrap.logs.telemetry",
    "bootstrap.pace",
    "adapters.store.database.postgres",
    "adapters.llm.anthropic",
    "adapters.llm.openai",
    "adapters.llm.transport",
    "api.app",
    "fastapi.telemetry._runtime",
    "openai",
    "structlog",
    "tests.rig.tools",
    "typer._click.decorators",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
    "uvloop",
    "worker",
)
"""What brings in everything that a role imports when it starts."""


class Nursery:
    """Accepts, forks, and tells each client how its process ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._clients: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serve until this process is killed."""
        ended, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(ended, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in self._selector.select()}
            if ended in ready:
                os.read(ended, 4096)
            self._bury()
            self._end_orphans(ready)
            if self._listener.fileno() in ready:
                self._fork()

    def _end_orphans(self, ready: set[int]) -> None:
        """Kill what was forked for a client that is gone: a client says nothing else."""
        for pid, client in self._clients.items():
            if client.fileno() in ready:
                self._selector.unregister(client)
                os.kill(pid, signal.SIGKILL)

    def _bury(self) -> None:
        while self._clients:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._clients.pop(pid) as client:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(client)
                with contextlib.suppress(OSError):
                    client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())

    def _fork(self) -> None:
        client, _ = self._listener.accept()
        client.settimeout(10)
        try:
            order, streams = receive(client)
        except (OSError, ValueError):
            client.close()  # it was killed before it said what it wants; others go on
            return
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            become(parent, order, streams)
        for stream in streams:
            os.close(stream)
        self._clients[pid] = client
        self._selector.register(client, selectors.EVENT_READ)
        with contextlib.suppress(OSError):
            client.sendall(f"{pid}\n".encode())


def become(parent: int, order: Order, streams: Sequence[int]) -> None:
    """Turn this fork into the command; never returns."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Where the tests are a shell's background job, Ctrl-C is ignored by all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if order.new_session:
        os.setsid()
    else:
        os.setpgid(0, 0)
    if not tie_to_parent(parent):
        os._exit(1)
    take(streams)
    os.chdir(order.cwd)
    os.umask(order.umask)
    os.environ.clear()
    os.environ.update(order.env)
    sys.argv = ["orchestrator", *order.argv]
    main = importlib.import_module("bootstrap.cli").main
    main(order.argv)


def take(streams: Sequence[int]) -> None:
    """Have these as stdin, stdout and stderr, and nothing else open."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 1024)
    # What the nursery has is made for a file: a pipe cannot be asked for its position.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        was = getattr(sys, name)
        text = os.fdopen(
            number,
            "w" if number else "r",
            buffering=1 if name == "stderr" else -1,
            encoding=was.encoding,
            errors=was.errors,
            closefd=False,
        )
        setattr(sys, name, text)


def build() -> None:
    """Do once what every process would do by and by: models, routes, the list of prices."""
    for model in _below(BaseModel):
        model.model_rebuild(raise_errors=False)
    for route in [found for found in gc.get_objects() if type(found) in {LateRoute, JsonRoute}]:
        route.dependant  # noqa: B018 -- what is looked at is worked out
    get_snapshot()


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for below in model.__subclasses__():
        yield below
        yield from _below(below)


def serve(path: str) -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    build()
    gc.collect()
    gc.freeze()  # else the first collection of each fork would copy every page
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.new")
        listener.listen(64)
        os.rename(f"{path}.new", path)  # noqa: PTH104 -- whoever sees it can connect
        Nursery(listener).run()


if __name__ == "__main__":
    serve(sys.argv[1])
