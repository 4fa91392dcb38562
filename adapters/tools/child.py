"""The process in which a blocking tool runs, so that it can be killed. Knows one call at a time.

Whatever a tool prints goes to the log pipe, whatever it reads is empty: the connection to the
worker lives on a descriptor of its own. When the worker is gone, this process goes too.
"""

import asyncio
import fcntl
import importlib
import os
import queue
import select
import signal
import socket
import sys
import threading
import traceback
from typing import Any

from adapters.tools.context import ToolContext
from adapters.tools.decorator import FunctionTool
from adapters.tools.frames import HEADER, Frame, pack, unpack
from adapters.tools.results import UnusableResultError, encode_result
from domain.errors import ToolFailedError, TransientError
from domain.tool import ToolInvocation

MAX_TRACEBACK_CHARACTERS = 4000


class Worker:
    """The connection to the worker that started this process."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self.is_busy = False
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Queue what arrives; when the worker is gone, kill a running tool and all it started."""
        while (frame := self._receive()) is not None:
            self._frames.put(frame)
        if self.is_busy:
            os.killpg(0, signal.SIGKILL)
        self._frames.put(None)

    def _receive(self) -> Frame | None:
        header = self._exactly(HEADER.size)
        body = self._exactly(HEADER.unpack(header)[0]) if header else b""
        return unpack(body) if body else None

    def _exactly(self, size: int) -> bytes:
        """Return `size` bytes, or nothing at the end of the stream."""
        received = bytearray()
        while len(received) < size:
            try:
                piece = self._connection.recv(min(size - len(received), 1 << 16))
            except OSError:
                piece = b""
            if not piece:
                return b""
            received += piece
        return bytes(received)

    def next(self) -> Frame | None:
        """Wait for a frame; None, from then on, when the worker is gone."""
        frame = self._frames.get()
        if frame is None:
            self._frames.put(None)
        return frame

    def send(self, frame: Frame) -> None:
        """Send one frame."""
        self._connection.sendall(pack(frame))


def main(lifeline: int) -> None:
    """Answer calls until the worker closes the connection, or with its end of `lifeline` dies."""
    _die_with_worker(lifeline)
    worker = Worker(_claim_connection())
    while (request := worker.next()) is not None:
        _serve(worker, request)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


def _serve(worker: Worker, request: Frame) -> None:
    """Answer one call."""
    try:
        tool, bound = _prepare(request)
    except BaseException as error:  # noqa: BLE001 - a module of the user's may fail in any way
        worker.send({"kind": "missing", "message": f"{type(error).__name__}: {error}"})
        return
    worker.send({"kind": "ready"})
    if worker.next() is not None:
        worker.is_busy = True
        reply = _run(tool, bound, request["max_bytes"])
        worker.is_busy = False
        worker.send(reply)


def _prepare(request: Frame) -> tuple[FunctionTool, dict[str, Any]]:
    invocation = ToolInvocation.model_validate(request["invocation"])
    module, _, path = str(request["target"]).partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    if not isinstance(found, FunctionTool):
        raise TypeError(f"{request['target']} is not a tool")
    return found, found.bind(invocation.args, ToolContext.of(invocation))


def _run(tool: FunctionTool, bound: dict[str, Any], max_bytes: int) -> Frame:
    try:
        value = tool.function(**bound)
        if tool.is_async:
            value = asyncio.run(value)
        return {"kind": "result", "content": encode_result(value, max_bytes)}
    except ToolFailedError as error:
        return {"kind": "failed", "code": error.code, "message": error.message}
    except TransientError as error:
        wait = error.retry_after.total_seconds() if error.retry_after else None
        return {"kind": "transient", "message": error.message, "retry_after": wait}
    except UnusableResultError as error:
        return {"kind": "unusable_result", "message": str(error)}
    except BaseException as error:  # noqa: BLE001 - also SystemExit: the worker is told, then decides
        return {
            "kind": "raised",
            "type": type(error).__name__,
            "message": str(error)[:MAX_TRACEBACK_CHARACTERS],
            "traceback": traceback.format_exc()[-MAX_TRACEBACK_CHARACTERS:],
        }


def _claim_connection() -> socket.socket:
    """Take the worker's socket off descriptor 0 and leave an empty input there."""
    connection = socket.socket(fileno=os.dup(0))
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return connection


def _die_with_worker(lifeline: int) -> None:
    """Have the kernel kill this process group when the worker's end of it is closed.

    No interpreter is needed for it, so it also ends a tool that holds the interpreter's lock, and
    what the tool started. Where the kernel cannot, the connection's end is all that is noticed.
    """
    os.set_inheritable(lifeline, False)
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        os._exit(1)
