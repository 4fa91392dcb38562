"""Trees of logs: one order, and a cursor that is taken only if it was given out."""

import json
import random

import pytest

from domain.errors import InvalidRequestError
from domain.event import EventDraft, EventType, Lineage, StoredEvent, envelope
from domain.treelog import Shelf, advance, decode_seen, encode_seen, merge, tree_frame


def event(run_id: str, seq: int, ts: int, spawns: str | None = None) -> StoredEvent:
    kind = EventType.AGENT_SPAWNED if spawns else EventType.AGENT_STREAM_DELTA
    draft = EventDraft(type=kind, key=str(seq), data={"child_run_id": spawns} if spawns else {})
    text = envelope(run_id, seq, ts, draft, Lineage(root_run_id="r"))
    return StoredEvent(run_id, seq, kind.value, text)


def shelf(run_id: str, *events: StoredEvent, depth: int = 0, **more: object) -> Shelf:
    parent = None if depth == 0 else "r"
    return Shelf(run_id, parent, depth, events, **more)  # type: ignore[arg-type]


def names(events: list[StoredEvent]) -> list[tuple[str, int]]:
    return [(one.run_id, one.seq) for one in events]


def test_times_decide_and_each_run_keeps_its_order() -> None:
    found = merge(
        [shelf("r", event("r", 4, 10), event("r", 5, 30)), shelf("c", event("c", 7, 20), depth=1)]
    )

    assert names(found) == [("r", 4), ("c", 7), ("r", 5)]


def test_a_clock_that_steps_back_does_not_turn_a_run_around() -> None:
    found = merge([shelf("r", event("r", 1, 50), event("r", 2, 10))])

    assert names(found) == [("r", 1), ("r", 2)]


def test_a_child_comes_after_what_made_it_whatever_the_clocks_say() -> None:
    found = merge(
        [
            shelf("c", event("c", 1, 5), depth=1),
            shelf("r", event("r", 1, 9), event("r", 2, 9, spawns="c")),
        ]
    )

    assert names(found) == [("r", 1), ("r", 2), ("c", 1)]


def test_in_the_same_moment_the_end_of_a_child_comes_first() -> None:
    found = merge([shelf("r", event("r", 9, 7)), shelf("c", event("c", 9, 7), depth=1)])

    assert names(found) == [("c", 9), ("r", 9)]


def test_nothing_overtakes_what_was_not_read_yet() -> None:
    found = merge(
        [shelf("r", event("r", 1, 1), is_cut=True), shelf("c", event("c", 5, 2), depth=1)]
    )

    assert names(found) == [("r", 1)]


def test_a_new_run_waits_while_its_parents_log_is_cut() -> None:
    found = merge(
        [shelf("r", event("r", 1, 5), is_cut=True), shelf("c", event("c", 1, 1), depth=1)]
    )

    assert names(found) == [("r", 1)]


def test_a_cursor_holds_how_far_each_run_was_read() -> None:
    seen: dict[str, int] = {}
    for run_id, seq in (("r", 3), ("c", 70_000), ("r", 4)):
        advance(seen, event(run_id, seq, 1))

    assert decode_seen(encode_seen(seen)) == seen
    assert decode_seen(None) == {}


@pytest.mark.parametrize("cursor", ["x", "12", "AAAA", "A" * 20_002, "\u00e9", "%%", "a b"])
def test_any_other_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequestError):
        decode_seen(cursor)


def test_noise_is_refused_or_harmless() -> None:
    rng = random.Random(1)
    for _ in range(300):
        text = "".join(rng.choices("abcXYZ019-_", k=rng.randint(1, 60)))
        try:
            assert all(seq >= 0 for seq in decode_seen(text).values())
        except InvalidRequestError:
            continue


def test_a_frame_has_the_cursor_as_its_id() -> None:
    seen: dict[str, int] = {}
    one = event("r", 3, 1)
    advance(seen, one)

    id_line, type_line, data_line, *_ = tree_frame(one, seen).decode().split("\n")

    assert decode_seen(id_line.removeprefix("id: ")) == seen
    assert type_line == "event: agent_stream_delta"
    assert json.loads(data_line.removeprefix("data: "))["run_id"] == "r"
