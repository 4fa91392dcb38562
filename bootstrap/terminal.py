"""What a terminal can do. Knows nothing of what is written to it."""

import os
from typing import TextIO


def has_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to `stream`. Source: no-color.org, force-color.org."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()
