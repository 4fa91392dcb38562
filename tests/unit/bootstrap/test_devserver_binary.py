"""Versions of binaries, and the sidecar that remembers them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bootstrap.devserver.binary import (
    Binary,
    probe,
    read_sidecar,
    set_aside,
    sidecar_path,
    write_sidecar,
)
from domain.errors import SetupError
from tests.unit.bootstrap.scripts import fake_temporal, write_script


def test_a_binary_says_its_own_version_and_its_servers(tmp_path: Path) -> None:
    path = fake_temporal(tmp_path / "temporal", server="1.32.0-162.0", cli="1.8.3-server")

    assert probe(path) == Binary(path, "1.8.3-server", "1.32.0-162.0")


@pytest.mark.parametrize("body", ["echo hello", "exit 3", ""])
def test_a_program_that_is_no_temporal_is_no_binary(tmp_path: Path, body: str) -> None:
    assert probe(write_script(tmp_path / "temporal", body)) is None


def test_a_file_that_does_not_run_is_no_binary(tmp_path: Path) -> None:
    (tmp_path / "temporal").write_text("not executable")

    assert probe(tmp_path / "temporal") is None
    assert probe(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("server", "enough"),
    [("1.29.0", False), ("1.29.1", True), ("1.32.0-162.0", True), ("1.9.9", False), ("2", True)],
)
def test_the_floor_compares_numbers(server: str, enough: bool) -> None:
    assert Binary(Path("temporal"), "1", server).is_new_enough() is enough


def test_the_sidecar_returns_the_writer_without_running_it(tmp_path: Path) -> None:
    data_file = tmp_path / "t.db"
    data_file.touch()
    binary = Binary(write_script(tmp_path / "temporal", "exit 1"), "1.8.2", "1.31.2")
    write_sidecar(data_file, binary)

    sidecar = read_sidecar(data_file)

    assert sidecar is not None
    assert sidecar.writer() == binary


def test_a_writer_that_was_replaced_is_asked_again(tmp_path: Path) -> None:
    data_file = tmp_path / "t.db"
    data_file.touch()
    path = fake_temporal(tmp_path / "temporal", server="1.31.2")
    write_sidecar(data_file, Binary(path, "1.8.2", "1.31.2"))
    fake_temporal(path, server="1.32.0", cli="1.9.0-longer")

    sidecar = read_sidecar(data_file)

    assert sidecar is not None
    assert sidecar.writer() == Binary(path, "1.9.0-longer", "1.32.0")
    path.unlink()
    assert sidecar.writer() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"other": 1}'])
def test_a_damaged_sidecar_is_refused_with_what_to_do(tmp_path: Path, content: str) -> None:
    data_file = tmp_path / "t.db"
    data_file.touch()
    sidecar_path(data_file).write_text(content)

    with pytest.raises(SetupError, match=r"t\.db\.server\.json cannot be read.*--restart-unf"):
        read_sidecar(data_file)


def test_a_data_file_of_which_nothing_was_noted_has_no_sidecar(tmp_path: Path) -> None:
    (tmp_path / "t.db").touch()

    assert read_sidecar(tmp_path / "t.db") is None


def test_a_sidecar_without_its_data_file_counts_as_none(tmp_path: Path) -> None:
    write_sidecar(tmp_path / "t.db", Binary(fake_temporal(tmp_path / "temporal"), "1", "1.31.2"))

    assert read_sidecar(tmp_path / "t.db") is None


def test_a_data_file_that_is_set_aside_keeps_what_is_only_in_its_log(tmp_path: Path) -> None:
    data_file = tmp_path / "t.db"
    writer = sqlite3.connect(data_file)
    writer.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (7);")
    wal = Path(f"{data_file}-wal").read_bytes()
    shared = Path(f"{data_file}-shm").read_bytes()
    main = data_file.read_bytes()
    writer.close()
    # As a killed server leaves it: nothing folded in.
    data_file.write_bytes(main)
    Path(f"{data_file}-wal").write_bytes(wal)
    Path(f"{data_file}-shm").write_bytes(shared)

    kept = set_aside(data_file, "1.30.0")

    assert kept == tmp_path / "t.db.1.30.0"
    assert not data_file.exists()
    with closing(sqlite3.connect(kept)) as reader:
        assert reader.execute("SELECT x FROM t").fetchall() == [(7,)]


def test_an_older_file_that_was_set_aside_is_not_overwritten(tmp_path: Path) -> None:
    data_file = tmp_path / "t.db"
    for _ in range(2):
        with closing(sqlite3.connect(data_file)) as writer:
            writer.execute("CREATE TABLE t (x)")
        set_aside(data_file, "1.30.0")

    assert {path.name for path in tmp_path.iterdir()} == {"t.db.1.30.0", "t.db.1.30.0.2"}
