"""One child process for blocking tools, seen from the worker. Knows no pool."""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from contextlib import suppress

from adapters.tools.frames import HEADER, Frame, pack, unpack

MAX_PRINTED_BYTES = 8192
"""What a tool prints in one call and reaches our log; the rest is dropped."""
GONE_SECONDS = 2.0
"""How long a killed or closed process may take to be gone before we stop waiting for it."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from adapters.tools.child import main; main(int(sys.argv[2]))"
)
_log = logging.getLogger(__name__)


class ChildLostError(Exception):
    """The process ended, or stopped making sense, before it answered."""


class _Ends:
    """What connects a worker and its child: calls, the log, and a lifeline that carries nothing.

    When the worker is gone, however it went, the kernel closes its end of the lifeline and kills
    the child's process group.
    """

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.our_log, self.their_log = socket.socketpair()
        self.our_lifeline, self.their_lifeline = socket.socketpair()

    def close(self) -> None:
        """Close the worker's ends."""
        self.ours.close()
        self.our_log.close()
        self.our_lifeline.close()


class ChildProcess:
    """A process with a session of its own, seen over its connection."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: "_Ends",
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._may_print = MAX_PRINTED_BYTES
        self._ends = ends
        self._following = asyncio.create_task(self._follow())
        self.serving = ""
        self.calls = 0

    @classmethod
    async def start(cls) -> "ChildProcess":
        """Start a process that waits for calls.

        Raises:
            OSError: the system cannot start one.
        """
        ends = _Ends()
        try:
            with ends.theirs, ends.their_log, ends.their_lifeline as lifeline:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", _BOOT, json.dumps(sys.path), str(lifeline.fileno())),
                    stdin=ends.theirs.fileno(),
                    stdout=ends.their_log.fileno(),
                    stderr=ends.their_log.fileno(),
                    pass_fds=[lifeline.fileno()],
                    start_new_session=True,
                )
            reader, writer = await asyncio.open_unix_connection(sock=ends.ours)
        except BaseException:
            # A process that was started already ends when it finds its worker's ends closed.
            ends.close()
            raise
        return cls(process, reader, writer, ends)

    @property
    def pid(self) -> int:
        """Process id, and the id of its process group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process has not been seen to end; it may end at any moment."""
        return self._process.returncode is None and not self._reader.at_eof()

    async def exchange(self, frame: Frame, max_bytes: int) -> Frame:
        """Send `frame` and return the answer.

        Raises:
            ChildLostError: the process died, or answered with more than `max_bytes` or nonsense.
        """
        self._may_print = MAX_PRINTED_BYTES
        try:
            self._writer.write(pack(frame))
            await self._writer.drain()
            (size,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            if size > max_bytes:
                raise self._lost(f"answered with {size} bytes; the limit is {max_bytes}")
            return unpack(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, OSError) as error:
            raise self._lost(f"ended before it answered{await self._how()}") from error
        except ValueError as error:
            raise self._lost(f"answered with something else: {error}") from error

    async def _follow(self) -> None:
        """Log what the process prints until its end."""
        reader, writer = await asyncio.open_unix_connection(sock=self._ends.our_log)
        try:
            while data := await reader.read(1 << 16):
                self._report(data)
        finally:
            writer.close()

    def _report(self, data: bytes) -> None:
        """Log what a tool printed, escaped, up to a limit per call."""
        kept = data[: self._may_print]
        self._may_print -= len(kept)
        if kept:
            text = kept.decode(errors="replace").encode("unicode_escape").decode()
            _log.info("tool %s printed: %s", self.serving, text)

    def kill(self) -> None:
        """Kill the process and everything it started in its group, at once."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def close(self, *, kill: bool) -> None:
        """End the process, now or after it notices, and wait until it is gone."""
        if kill:
            self.kill()
        self._writer.close()
        gone = asyncio.ensure_future(self._process.wait())
        await asyncio.wait({gone}, timeout=GONE_SECONDS)
        if not gone.done():
            self.kill()
            await asyncio.wait({gone}, timeout=GONE_SECONDS)
        gone.cancel()
        self._following.cancel()
        await asyncio.wait({self._following})
        self._writer.transport.abort()
        self._ends.close()

    def _lost(self, what: str) -> ChildLostError:
        return ChildLostError(f"the process of tool {self.serving} {what}")

    async def _how(self) -> str:
        """Say how the process ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_SECONDS):
                await self._process.wait()
        return f" (exit code {self._process.returncode})"
