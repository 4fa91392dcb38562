"""Durable appends a second through the product's store, against raw sqlite3."""

from pathlib import Path

from bench.bars import Figure
from bench.lab import Lab
from bench.stats import Paired

WRITERS = 8
BATCH = 10


def measure(lab: Lab) -> list[Figure]:
    """Append in turn."""
    seconds, rounds = (1.0, 3) if lab.quick else (3.0, 5)
    folder = lab.folder / "eventlog"
    folder.mkdir()
    store = lab.child("store", "-m", "bench.store", "--folder", str(folder))
    database = Path(store.hear()["file"])
    raw = lab.child(
        "sqlite",
        "-m",
        "bench.anchors.sqlite",
        "--like",
        str(database),
        "--file",
        str(folder / "raw.db"),
    )
    raw.hear()
    order = {"do": "append", "writers": WRITERS, "batch": BATCH, "seconds": seconds}
    ours: list[float] = []
    anchor: list[float] = []
    for _ in range(rounds):
        for child, rates in ((store, ours), (raw, anchor)):
            done = child.ask(order)
            rates.append(done["events"] / done["seconds"])
    store.kill()
    raw.kill()
    pair = Paired(ours, anchor)
    mine, other = pair.shown("events/s")
    return [Figure("event_log", pair.ratio, mine, other, pair.ratios, "", {"pair": pair})]
