"""A `temporal` binary and its version, and the sidecar file that says which one wrote a data file.

Knows nothing of where binaries come from (find.py) nor of running servers.
"""

import json
import os
import re
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from domain.errors import SetupError

FLOOR = (1, 29, 1)
"""The oldest server that does what we need: worker versioning, priority, eager workflow start."""

_VERSION_LINE = re.compile(r"version (\S+) \(Server ([^,)]+)")
"""`temporal version 1.8.2 (Server 1.31.2, UI 2.50.1)`"""

_HEADER = b"SQLite format 3\0"
"""How each SQLite database begins; a new one is empty. Source: sqlite.org/fileformat.html."""

_PROBE_SECONDS = 20
"""A cold disk reads 140 MB before the first line comes."""


@dataclass(frozen=True)
class Binary:
    """A `temporal` binary that answered."""

    path: Path
    cli_version: str
    server_version: str

    def is_new_enough(self) -> bool:
        """Whether the server inside reaches `FLOOR`."""
        numbers = re.findall(r"\d+", self.server_version)[:3]
        return tuple(int(number) for number in numbers) >= FLOOR


def probe(path: Path) -> Binary | None:
    """Ask a binary for its version; None when it is no `temporal` or does not run here."""
    try:
        answer = subprocess.run(  # noqa: S603 - the path comes from the search, not from a request
            [path, "--version"], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION_LINE.search(answer.stdout)
    return Binary(path, found[1], found[2]) if found else None


@dataclass(frozen=True)
class Sidecar:
    """What stands beside a data file: the server that wrote it and the binary's state then."""

    server_version: str
    cli_version: str
    binary: str
    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, binary: Binary) -> "Sidecar":
        """Describe a binary as it is on disk now."""
        stat = binary.path.stat()
        return cls(
            server_version=binary.server_version,
            cli_version=binary.cli_version,
            binary=str(binary.path),
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
        )

    def writer(self) -> Binary | None:
        """Return the binary that wrote the file if it is still there.

        An unchanged size and time spare the probe, 30 ms of every start.
        """
        path = Path(self.binary)
        try:
            stat = path.stat()
        except OSError:
            return None
        if (stat.st_size, stat.st_mtime_ns) == (self.size_bytes, self.mtime_ns):
            return Binary(path, self.cli_version, self.server_version)
        return probe(path)


def sidecar_path(data_file: Path) -> Path:
    """Return where a data file's sidecar stands."""
    return data_file.with_name(data_file.name + ".server.json")


def read_sidecar(data_file: Path) -> Sidecar | None:
    """Return what wrote the data file; None when there is no file, or nobody noted it.

    Raises:
        SetupError: the file is no database, or the note cannot be read: another version might
            serve the file and damage it.
    """
    if not data_file.exists():
        return None
    if not _is_database(data_file):
        raise SetupError(
            f"{data_file} is damaged: it is no SQLite database, so Temporal cannot read it. Put a"
            " copy of it back, or start with --restart-unfinished, which keeps the damaged file"
            " and starts every open run again"
        )
    note = sidecar_path(data_file)
    try:
        return Sidecar(**json.loads(note.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise SetupError(
            f"{note} cannot be read, so nobody knows which Temporal server wrote {data_file.name};"
            " restore it, remove it if that server is still the one that is used here, or start"
            " with --restart-unfinished, which keeps the old file and starts every open run again"
        ) from error


def _is_database(data_file: Path) -> bool:
    with data_file.open("rb") as file:
        return file.read(len(_HEADER)) in (b"", _HEADER)


def write_sidecar(data_file: Path, binary: Binary) -> None:
    """Note which binary serves the data file, replacing the note as a whole."""
    target = sidecar_path(data_file)
    draft = target.with_name(target.name + ".part")
    with draft.open("w") as file:
        file.write(json.dumps(asdict(Sidecar.of(binary)), indent=1) + "\n")
        file.flush()
        # A note that a power cut left empty would keep the next start from its data.
        os.fsync(file.fileno())
    draft.replace(target)


def set_aside(data_file: Path, version: str) -> Path:
    """Move a data file of another version out of the way; nothing is deleted.

    Returns:
        Where the data file is now.
    """
    kept = data_file.with_name(f"{data_file.name}.{version}")
    number = 1
    while kept.exists():
        number += 1
        kept = data_file.with_name(f"{data_file.name}.{version}.{number}")
    if _is_database(data_file):
        # Fold the write-ahead log in first: one file moves in one step, two could be torn apart.
        with closing(sqlite3.connect(data_file)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    else:
        _keep_beside(data_file, kept)
    data_file.rename(kept)
    sidecar_path(data_file).unlink(missing_ok=True)
    return kept


def _keep_beside(data_file: Path, kept: Path) -> None:
    for suffix in ("-wal", "-shm"):
        beside = data_file.with_name(data_file.name + suffix)
        if beside.exists():
            beside.rename(kept.with_name(kept.name + suffix))
