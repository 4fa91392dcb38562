"""A PostgreSQL of our own on a free port, from the installed package, in a folder to throw away.

Knows nothing of what is stored in it. For development: it trusts every local connection, and when
the cluster is killed outright it stays behind, because it runs as a user of its own.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bootstrap.devserver.process import free_port
from domain.errors import SetupError

_MAX_CONNECTIONS = 300
"""Temporal's four services take up to 30 each, our processes 10 each."""

_PLACES = ("/usr/lib/postgresql", "/usr/local/opt", "/opt/homebrew/opt")
"""Where packages keep `postgres` when it is not on PATH (Debian keeps it apart on purpose)."""


@dataclass(frozen=True)
class PostgresAddress:
    """Where a PostgreSQL server takes connections over TCP."""

    port: int
    host: str = "127.0.0.1"
    user: str = "postgres"

    def url(self, database: str) -> str:
        """Return the form of `DATABASE_URL` for one of its databases."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{database}"


class OwnPostgres:
    """A server in one folder. Blocking: no event loop here.

    The wheel that the tests use does not do: Temporal's visibility needs the extension btree_gin,
    which only whole installations bring.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: Path | None = None

    def start(self, *databases: str) -> PostgresAddress:
        """Make the server, start it and create databases.

        Raises:
            SetupError: PostgreSQL is not installed, or it did not start.
        """
        programs = find_programs()
        self._folder.mkdir(parents=True)
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            shutil.chown(self._folder, _unprivileged_user())
        address = PostgresAddress(free_port("127.0.0.1", 0, "PostgreSQL"))
        options = (
            f"-h {address.host} -p {address.port} -k {self._folder}"
            f" -c max_connections={_MAX_CONNECTIONS}"
        )
        self._call(programs / "initdb", "--auth=trust", "--encoding=utf8", "-U", address.user)
        self._programs = programs
        log = str(self._folder / "log")
        self._call(programs / "pg_ctl", "-w", "-o", options, "-l", log, "start")
        for database in databases:
            where = ["-h", address.host, "-p", str(address.port), "-U", address.user]
            self._call(programs / "createdb", *where, database)
        return address

    def stop(self) -> None:
        """End the server at once; the folder may be deleted afterwards."""
        if self._programs is not None:
            self._call(self._programs / "pg_ctl", "-w", "-m", "immediate", "stop")
            self._programs = None

    def _call(self, program: Path, *arguments: str) -> None:
        as_root = os.geteuid() == 0
        # A file, not a pipe: the server that pg_ctl leaves behind would keep a pipe open for ever.
        with (self._folder.parent / "postgres-setup.log").open("a+") as output:
            done = subprocess.run(  # noqa: S603 - the installed package's programs
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env={"PGDATA": str(self._folder), "PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                user=_unprivileged_user() if as_root else None,
                group=pwd.getpwnam(_unprivileged_user()).pw_gid if as_root else None,
                extra_groups=[] if as_root else None,
                check=False,
            )
            if done.returncode:
                output.seek(0)
                raise SetupError(f"{program.name} failed: {output.read()[-500:].strip()}")


def find_programs() -> Path:
    """Return the folder with `postgres` and `initdb`, the newest installed version's.

    Raises:
        SetupError: there is none.
    """
    found = [path for place in _PLACES for path in Path(place).glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    if on_path:
        found.append(Path(on_path).resolve())
    usable = [path.parent for path in found if (path.parent / "initdb").exists()]
    if not usable:
        raise SetupError(
            "No PostgreSQL is installed: install it with its contributed extensions (Debian: the "
            "package postgresql), or set DATABASE_URL and TEMPORAL_ADDRESS to use what runs."
        )
    return max(usable, key=lambda folder: [int(n) for n in folder.parts if n.isdigit()])


def _unprivileged_user() -> str:
    """Return who runs the server when we are root."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise SetupError("PostgreSQL refuses to run as root, and there is no user `postgres`.")
