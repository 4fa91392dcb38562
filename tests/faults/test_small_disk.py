"""Fault 13, the store alone: on a small disk its own log must not take the space that is left."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.store.database.sqlite import SqliteEngine
from adapters.store.database.tx import Tx

DISK_MIB = 8


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_small_disk_takes_many_times_its_size_in_commits(small_disk: Path) -> None:
    engine = SqliteEngine(small_disk / "store.db", lambda _events: None)
    engine.start()
    text, rounds = "x" * 100_000, 4 * DISK_MIB * 10

    def prepare(tx: Tx) -> int:
        return tx.run("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")

    def note(tx: Tx) -> int:
        return tx.run("INSERT OR REPLACE INTO notes VALUES (1, :text)", text=text)

    try:
        await engine.write(prepare)
        async with asyncio.timeout(60):
            for _ in range(rounds):
                assert await engine.write(note) == 1
        assert rounds * len(text) > 3 * DISK_MIB * 1024 * 1024
    finally:
        await engine.close()
