"""Every way people spell where the store is."""

from pathlib import Path

import pytest

from adapters.store.database.urls import PostgresUrl, SqliteFile, parse_database_url
from domain.errors import SetupError


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:///x.db", "x.db"),
        ("sqlite:////var/lib/x.db", "/var/lib/x.db"),
        ("sqlite+aiosqlite:///data/x.db", "data/x.db"),
        ("SQLite:///x.db", "x.db"),
        ("sqlite:///a%20b.db?timeout=5", "a b.db"),
        ("file:x.db?cache=shared&mode=rwc", "x.db"),
        ("file:/var/lib/x.db", "/var/lib/x.db"),
        ("file:///var/lib/x.db?mode=rw", "/var/lib/x.db"),
        ("file://localhost/var/lib/x.db", "/var/lib/x.db"),
        ("x.db", "x.db"),
        ("./garbage", "garbage"),
        ("data/garbage", "data/garbage"),
        ("sqlite:///garbage", "garbage"),
        (" /var/lib/x.db ", "/var/lib/x.db"),
        ("./odd:name.db", "odd:name.db"),
        ("data/odd:name.db", "data/odd:name.db"),
    ],
)
def test_a_sqlite_file_is_a_path(text: str, path: str) -> None:
    assert parse_database_url(text) == SqliteFile(Path(path))


def test_a_home_folder_is_found() -> None:
    found = parse_database_url("~/x.db")

    assert found == SqliteFile(Path.home() / "x.db")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p%40@h:5433/d", "postgresql+asyncpg://u:p%40@h:5433/d"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        ("postgres:///d?host=/run/pg", "postgresql+asyncpg:///d?host=/run/pg"),
        ("postgres://u@/d?host=/run/pg", "postgresql+asyncpg://u@/d?host=/run/pg"),
        (
            "postgres://u@h/d?sslmode=require&channel_binding=require",
            "postgresql+asyncpg://u@h/d?ssl=require",
        ),
    ],
)
def test_a_postgresql_url_names_the_async_driver(text: str, url: str) -> None:
    assert parse_database_url(text) == PostgresUrl(url)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("mysql://u:secret@h/d", "'mysql'"),
        ("::::", "neither a URL that is known nor a path"),
        ("u:secret@h/d", "neither a URL that is known nor a path"),
        ("mysql:u:secret@h/d", "neither a URL that is known nor a path"),
        ("sqlite://x.db", "three slashes"),
        ("sqlite:x.db", "three slashes"),
        ("sqlite://", "three slashes"),
        ("sqlite:///", "a file"),
        ("sqlite:///:memory:", "a file"),
        ("file::memory:", "a file"),
        ("file:x.db?mode=ro", "mode=ro"),
        ("file:x.db?mode=memory", "mode=memory"),
        ("postgres://u:secret@h", "no database"),
        ("postgres://u:secret@h/", "no database"),
        ("postgres://u:secret@h/d?options=x", "'options'"),
        (
            "postgres://u:secret@h/d?sslmode=bogus",
            "sslmode='bogus', which .* one of disable, allow",
        ),
        ("postgres://u:secret@h/d?target_session_attrs=x", "target_session_attrs is one of any"),
        ("garbage", "one word, neither a URL nor a path.*with ./ before"),
        ("postgres://u:secret@[h/d", "cannot be read"),
        ("postgres://u:secret@h:port/d", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(SetupError, match=says) as refused:
        parse_database_url(text)
    assert "secret" not in str(refused.value)


def test_a_database_is_named_with_its_port() -> None:
    assert str(PostgresUrl("postgresql+asyncpg://u:p@h:5433/d")).endswith("database h:5433/d")


def test_what_asks_the_driver_alone_spells_options_as_postgresql_does() -> None:
    given = "postgres://u:p%40@h:5433/d?sslmode=require&prepared_statement_cache_size=0"
    found = parse_database_url(given)

    assert isinstance(found, PostgresUrl)
    assert found.libpq == "postgresql://u:p%40@h:5433/d?sslmode=require"
    socket = parse_database_url("postgres://u@/d?host=/run/pg")
    assert isinstance(socket, PostgresUrl)
    assert socket.libpq == "postgresql://u@/d?host=/run/pg"


def test_a_password_does_not_reach_a_log() -> None:
    assert "secret" not in repr(PostgresUrl("postgresql+asyncpg://u:secret@h/d"))
    assert repr(PostgresUrl("postgresql+asyncpg://u@/d")) == "PostgresUrl(socket/d)"
