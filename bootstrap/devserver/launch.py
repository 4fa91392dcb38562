"""Becomes the server process, after asking the kernel to end it together with its parent.

Run as `python -I -S launch.py PARENT_PID [--private] BINARY ARGS...`, so it may import nothing but
the standard library. `--private`: what the process makes is for its owner alone. It exists because
the kernel takes this wish only from the process itself, and running Python code between fork and
exec of a threaded process may deadlock.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PRIVATE = "--private"

_PR_SET_PDEATHSIG = 1
"""Linux, prctl(2): the signal that this process gets when its parent dies; kept across exec."""


def tie_to_parent(parent_pid: int) -> bool:
    """Die with the parent; False when it is gone already, so that nobody would ever stop us.

    SIGKILL, because nobody waits for the server any more and the next start must not either; its
    data file is written with a write-ahead log, so a killed process loses nothing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent_pid


def main(arguments: Sequence[str]) -> None:
    """Replace this process by the command after the parent's process id."""
    parent_pid, *command = arguments
    if not tie_to_parent(int(parent_pid)):
        sys.exit(1)
    if command[0] == PRIVATE:
        os.umask(0o077)
        command = command[1:]
    os.execv(command[0], command)  # noqa: S606 - the command comes from bootstrap/devserver/server.py


if __name__ == "__main__":
    main(sys.argv[1:])
