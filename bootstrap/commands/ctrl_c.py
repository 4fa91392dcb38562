"""Ctrl-C that is not lost.

Python drops a `KeyboardInterrupt` that is raised inside a finalizer or a callback of C code, and
the command would go on as if nobody had pressed anything.
"""

import signal
from types import FrameType
from typing import Self


class CtrlC:
    """Remembers that it was pressed, while it is entered. For the main thread."""

    def __init__(self) -> None:
        self._was_pressed = False
        self._before: object = None

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:
            # Elsewhere somebody wants it otherwise: a shell's background job ignores Ctrl-C.
            signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _press(self, _number: int, _frame: FrameType | None) -> None:
        self._was_pressed = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise the interrupt that may have been lost.

        Raises:
            KeyboardInterrupt: it was pressed.
        """
        if self._was_pressed:
            raise KeyboardInterrupt
