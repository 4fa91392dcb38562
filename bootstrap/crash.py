"""Crash points: a process that kills itself at a named commit, for the fault tests."""

import os
import signal
from collections.abc import Callable

from domain.errors import SetupError


def crash_at(point: str | None) -> Callable[[str], None]:
    """Return a hook that kills this process when `point` comes by.

    `point` is `<commit>:<before|after>` and optionally `:<n>`, the n-th time, from 1.

    Raises:
        SetupError: `point` has another form.
    """
    if point is None:
        return lambda _name: None
    parts = point.split(":")
    if len(parts) not in (2, 3) or parts[1] not in ("before", "after"):
        raise SetupError(f"crash point {point!r} is not of the form <commit>:<before|after>[:<n>]")
    wanted = ":".join(parts[:2])
    left = int(parts[2]) if len(parts) == 3 else 1

    def hook(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook
