"""Files of the data folder that are for their owner alone, whatever the umask is."""

import os
from pathlib import Path
from typing import BinaryIO


def open_private(path: Path) -> BinaryIO:
    """Open a file to append to it; one that is made now is nobody else's to read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def is_open_to_others(path: Path) -> bool:
    """Whether somebody else than the owner may look into a folder."""
    return bool(path.stat().st_mode & 0o077)
