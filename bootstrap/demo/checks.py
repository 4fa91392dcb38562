"""What must be true of a run's log, whatever happened to the processes that wrote it."""

from collections.abc import Callable, Sequence
from typing import Any

from bootstrap.commands.follow import TERMINAL

Events = Sequence[dict[str, Any]]


def last_attempt_text(events: Events) -> str:
    """Return the text of the last attempt of the last step that streamed."""
    place, text = None, ""
    for event in events:
        if event["type"] in ("agent_stream_delta", "agent_stream_reset"):
            data = event["data"]
            here = (data["step"], data["attempt"])
            if here != place:
                place, text = here, ""
            text += data.get("text", "")
    return text


def final_text(events: Events) -> str | None:
    """Return the answer on record, None when the run is not DONE."""
    last = events[-1] if events else None
    if last is None or last["type"] != "run_done":
        return None
    return str(last["data"]["final_message"]["content"])


def is_gapless(events: Events) -> bool:
    """Whether `seq` counts 1, 2, 3 ... to the last event."""
    return [event["seq"] for event in events] == list(range(1, len(events) + 1))


def ends_once(events: Events) -> bool:
    """Whether exactly one event ends the run, and nothing follows it."""
    ends = [at for at, event in enumerate(events) if event["type"] in TERMINAL]
    return ends == [len(events) - 1]


def is_whole(events: Events) -> bool:
    """Whether the last attempt streamed exactly the answer on record."""
    return final_text(events) == last_attempt_text(events)


def was_reset(events: Events) -> bool:
    """Whether viewers were told that an attempt began again."""
    return any(event["type"] == "agent_stream_reset" for event in events)


def counts_to(events: Events, words: int) -> bool:
    """Whether the answer holds `t0 t1 ...`, each once and in order."""
    said = (final_text(events) or "").split()
    return [word for word in said if word.startswith("t")] == [f"t{at}" for at in range(words)]


LOG_CHECKS: tuple[tuple[str, Callable[[Events], bool]], ...] = (
    ("seq counts 1, 2, 3 ... without a gap", is_gapless),
    ("exactly one event ends the run, the last one", ends_once),
    ("the text of the last attempt is the answer on record", is_whole),
)
"""What holds for every run that is DONE."""
