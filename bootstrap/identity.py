"""Clock, ids and the name of this process: what the inner layers are given, not what they read."""

import os
import secrets
import socket
import time
from pathlib import Path

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000


class SortableIds:
    """Ids of 26 characters of Crockford base32 over a UUIDv7's bits: sortable by time."""

    def new(self, prefix: str) -> str:
        """Return a new id that begins with `prefix` and an underscore."""
        value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        letters = []
        for _ in range(26):
            letters.append(_ALPHABET[value & 31])
            value >>= 5
        return f"{prefix}_{''.join(reversed(letters))}"


def process_name() -> str:
    """Return `host:boot:pid:started`, which no other process on any machine has."""
    return f"{socket.gethostname()}:{_boot()}:{os.getpid()}:{_started(os.getpid())}"


def is_gone(process: str) -> bool:
    """Whether a named process certainly no longer lives; False when this machine cannot tell."""
    try:
        host, boot, pid, started = process.rsplit(":", 3)
    except ValueError:
        return False
    if host != socket.gethostname() or not started.isdigit():
        return False
    if boot != _boot():
        return bool(boot)
    return _started(int(pid)) != started


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return the kernel's start time of a process, empty when it is not there or is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
