"""What is said on a terminal: colours if it has them, progress, text of strangers made harmless.

Knows nothing of what is said. Answers go to stdout, everything else to stderr.
"""

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves a cursor, ends a line or turns its direction. Joiners stay: emoji and scripts need
them."""
_UNSEEN = re.compile(
    "[\xad\u061c\u180e\u200b-\u200f\u2028\u2029\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SLOW_SECONDS = 1.0

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def has_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to `stream`. Source: no-color.org, force-color.org."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return `text` in a style of `STYLES`, where `stream` shows styles."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if has_colour(stream) else text


def harmless(text: str) -> str:
    r"""Return `text` with its line ends, and `\uXXXX` for what could steer the terminal."""
    return _STEERING.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def seen(text: str) -> str:
    r"""Return `text` with `\uXXXX` also for what nobody sees: where it is judged by its looks."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match.group()):04x}", harmless(text))


def out(text: str, end: str = "\n") -> None:
    """Write an answer to stdout, at once."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def note(text: str, end: str = "\n") -> None:
    """Write what is not the answer to stderr, at once."""
    sys.stderr.write(text + end)
    sys.stderr.flush()


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Say what is done if it takes more than a second, and how long it took."""
    started = time.monotonic()
    said = threading.Event()

    def say() -> None:
        said.set()
        note(paint(f"==> {what} ...", "dim", sys.stderr))

    timer = threading.Timer(_SLOW_SECONDS, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if said.is_set():
            seconds = time.monotonic() - started
            note(paint(f"==> {what}: {seconds:.1f} s", "dim", sys.stderr))
