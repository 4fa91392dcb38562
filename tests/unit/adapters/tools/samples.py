"""Tools that misbehave, at the top level of a module so that a child process can import them."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

from adapters.tools.context import ToolContext
from adapters.tools.decorator import tool
from domain.errors import ToolFailedError, TransientError
from domain.tool import Effect


def report(port: int, *, spawn: bool) -> None:
    """Send this process's id to a port, and that of a process started here."""
    pids = [os.getpid()]
    if spawn:
        pids.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(json.dumps(pids).encode() + b"\n")


@tool()
def process_id() -> int:
    """Say in which process this runs."""
    return os.getpid()


@tool()
def environment(context: ToolContext) -> dict[str, object]:
    """Say what the tool was told, and what it can read."""
    return {"key": context.idempotency_key, "run": context.run_id, "input": sys.stdin.read()}


@tool()
def hang(port: int, spawn: bool = False) -> None:
    """Report process ids to a port, then ignore every polite signal for ever."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    report(port, spawn=spawn)
    while True:
        time.sleep(600)


@tool()
def spin(port: int, spawn: bool = False) -> None:
    """Report the process id, then hold the interpreter's lock in a regex that never ends."""
    report(port, spawn=spawn)
    re.match(r"(a+)+$", "a" * 64 + "b")


@tool(effect=Effect.UNSAFE)
def leave(code: int) -> None:
    """End the process without a word."""
    os._exit(code)


@tool()
def chatter(size: int) -> str:
    """Print a lot, to every descriptor that is a habit, also as a frame would look."""
    print("x" * size)
    sys.stderr.write("y" * size)
    os.write(1, b"\x00\x00\x00\x02{}" * 1000)
    return "said"


@tool()
def scribble(header: list[int]) -> None:
    """Write nonsense to every socket of the process, then end it."""
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, bytes(header) + b"xx")
    os._exit(0)


@tool()
def produce(size: int) -> str:
    """Return a long text."""
    return "é" * size


@tool()
def linger() -> str:
    """Return while a thread of this tool goes on."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    return "gone"


@tool()
def fail(how: str) -> None:
    """Fail in a way that is named."""
    if how == "declared":
        raise ToolFailedError("nothing was booked")
    if how == "transient":
        raise TransientError("the line is busy")
    if how == "exit":
        sys.exit("over")
    raise KeyError(how)


@tool()
def unwritable() -> object:
    """Return what JSON cannot hold."""
    return object()


@tool(blocking=True)
async def slow_library(word: str) -> str:
    """Run a coroutine in a process of its own."""
    return word.upper()


not_a_tool = 1
