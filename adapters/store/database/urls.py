"""Where the store is: the forms of `DATABASE_URL` people write, as one small value.

Knows the spelling only: nothing is opened, and no database library is imported.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from domain.errors import SetupError

_POSTGRES_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_SQLITE_SCHEMES = frozenset({"sqlite", "sqlite3", "sqlite+aiosqlite", "sqlite+pysqlite"})
_LONGEST_SHOWN = 50
"""Characters of a value that are repeated."""
_FORMS = "sqlite:///path.db, postgresql://user:password@host/database, or a path"

_RENAMED = {"sslmode": "ssl"}
"""libpq's name of an option and asyncpg's."""
_KEPT = frozenset({"ssl", "host", "port", "target_session_attrs", "prepared_statement_cache_size"})
_VALUES = {
    "ssl": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": (
        *("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
    ),
}
"""What the driver takes of an option; of others it is not known here."""
_DROPPED = frozenset({"channel_binding", "gssencmode", "sslnegotiation"})
"""What hosted databases put into their URLs and asyncpg negotiates by itself."""
_OF_SQLALCHEMY = frozenset({"prepared_statement_cache_size"})


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A SQLite database: one file, made if missing."""

    path: Path


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A PostgreSQL database. `url` names the asyncpg driver and may hold a password."""

    url: str

    def __repr__(self) -> str:
        """Leave the password out of logs and tracebacks."""
        return f"PostgresUrl({self._place})"

    def __str__(self) -> str:
        """Name the database as a sentence does, without its password."""
        return f"the PostgreSQL database {self._place}"

    @property
    def libpq(self) -> str:
        """The URL as PostgreSQL's own tools, and asyncpg alone, spell it."""
        parts = urlsplit(self.url)
        back = {ours: theirs for theirs, ours in _RENAMED.items()}
        options = [
            (back.get(name, name), value)
            for name, value in parse_qsl(parts.query)
            if name not in _OF_SQLALCHEMY
        ]
        query = f"?{urlencode(options, safe='/')}" if options else ""
        return f"postgresql://{parts.netloc}{parts.path}{query}"

    @property
    def _place(self) -> str:
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.hostname or 'socket'}{port}{parts.path}"


Database = SqliteFile | PostgresUrl


def parse_database_url(text: str) -> Database:
    """Return the database that `text` names.

    Takes `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgres://...`, `postgresql://...`,
    SQLite's own `file:x.db?cache=shared&mode=rwc` (its options are not needed here) and a path.

    Raises:
        SetupError: another scheme, no file or database name, an in-memory or read-only database, or
            an option this store does not know.
    """
    if not text.strip():
        raise SetupError(f"DATABASE_URL is empty; use {_FORMS}")
    scheme, separator, rest = text.strip().partition(":")
    scheme = scheme.lower()
    if separator and scheme == "file":
        return _sqlite_uri(rest)
    if separator and scheme in _SQLITE_SCHEMES:
        return _sqlite_url(rest)
    if separator and scheme in _POSTGRES_SCHEMES:
        return _postgres(text.strip())
    if rest.startswith("//"):
        raise SetupError(
            f"DATABASE_URL has the scheme {scheme!r}, which is not known; use {_FORMS}"
        )
    if separator and "/" not in scheme:
        # Not repeated: it may be a URL whose scheme was left out, with a password in it.
        raise SetupError(
            f"DATABASE_URL is neither a URL that is known nor a path; use {_FORMS} (with ./ before"
            " a first name that has a colon)"
        )
    return _bare(text.strip())


def _bare(path: str) -> SqliteFile:
    """Take a path alone; a word might be anything, and would become a file in the working folder.

    Raises:
        SetupError: it does not look like a path.
    """
    if "/" not in path and "." not in path:
        raise SetupError(
            "DATABASE_URL is one word, neither a URL nor a path; use"
            f" {_FORMS} (with ./ before a file's name that has no suffix such as .db)"
        )
    return _file(path)


def _sqlite_url(rest: str) -> SqliteFile:
    place, _, _ = rest.partition("?")
    if not place.startswith("///"):
        raise SetupError("a SQLite URL has three slashes before its path: sqlite:///path.db")
    return _file(unquote(place.removeprefix("///")))


def _sqlite_uri(rest: str) -> SqliteFile:
    place, _, query = rest.partition("?")
    mode = dict(parse_qsl(query)).get("mode", "rwc")
    if mode not in ("rw", "rwc"):
        raise SetupError(f"the store cannot use a SQLite database with mode={mode}")
    if place.startswith("//"):
        place = "/" + place.removeprefix("//").partition("/")[2]
    return _file(unquote(place))


def _file(path: str) -> SqliteFile:
    if not path or path == ":memory:":
        raise SetupError("the store needs a file: a database in memory would lose every run")
    return SqliteFile(Path(path).expanduser())


def _postgres(url: str) -> PostgresUrl:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise SetupError(
            "DATABASE_URL cannot be read as a URL: is a character not encoded?"
        ) from None
    if not parts.path.strip("/"):
        raise SetupError("DATABASE_URL names no database: postgresql://user:password@host/database")
    options = []
    for name, value in parse_qsl(parts.query):
        known = _RENAMED.get(name, name)
        if known in _KEPT:
            _check_value(name, known, value)
            options.append((known, value))
        elif name not in _DROPPED:
            raise SetupError(f"DATABASE_URL has the option {name!r}, which is not known; remove it")
    query = f"?{urlencode(options, safe='/')}" if options else ""
    return PostgresUrl(f"postgresql+asyncpg://{parts.netloc}{parts.path}{query}")


def _check_value(name: str, known: str, value: str) -> None:
    takes = _VALUES.get(known)
    if takes is not None and value not in takes:
        raise SetupError(
            f"DATABASE_URL has the option {name}={value[:_LONGEST_SHOWN]!a}, which is not known;"
            f" {name} is one of {', '.join(takes)}"
        )
