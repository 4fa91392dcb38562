"""A run's text told once, although its attempts may be several.

What a stream has told cannot be taken back. When an attempt is replaced, the new one's text is
compared with what was told: the same words go on silently, others end the telling. Knows no wire.
"""

import re
from typing import Any

from domain.event import EventType

_STEP = re.compile(r"(?:llm|invoke)-(\d+)")
_BETWEEN = "\n\n"
"""Between the texts of two turns: before and after a tool, say."""
HEARD = frozenset(
    {
        EventType.AGENT_STREAM_DELTA,
        EventType.AGENT_STREAM_RESET,
        EventType.LLM_CALL_DONE,
        EventType.AGENT_INVOKE_DONE,
        EventType.RUN_DONE,
    }
)
"""The events that `take` looks at."""


class TextChangedError(Exception):
    """A new attempt says something else than what was told."""


class Retelling:
    """The text of one run. With `committed` a step's text is told once it cannot change any more.

    Source: DESIGN 5, exactly once, 4.
    """

    def __init__(self, *, committed: bool) -> None:
        self._committed = committed
        self._turn: int | None = None
        self._told: list[str] = []
        """Of this turn."""
        self._said = ""
        """By the present attempt, as long as that is not simply what was told."""
        self._is_level = True
        """Whether what the attempt said is what was told."""
        self._has_told = False

    def take(self, kind: str, data: dict[str, Any]) -> str:
        """Return what is to be told now.

        Raises:
            TextChangedError: it is not what was told before.
        """
        if kind == EventType.AGENT_STREAM_DELTA:
            return self._delta(_turn_of(data["step"]), data["text"])
        if kind == EventType.AGENT_STREAM_RESET:
            self._reset(_turn_of(data["step"]))
        elif kind == EventType.RUN_DONE:
            return self._end(str((data["final_message"] or {}).get("content", "")))
        elif kind == EventType.AGENT_INVOKE_DONE or not data.get("error"):
            return self._commit(_turn_of(data["step"]))
        return ""

    def _begin(self, turn: int) -> None:
        if turn != self._turn:
            self._turn, self._told, self._said = turn, [], ""
            self._is_level = not self._committed

    def _delta(self, turn: int, text: str) -> str:
        self._begin(turn)
        if self._is_level:
            return self._tell(text)
        self._said += text
        return "" if self._committed else self._catch_up()

    def _catch_up(self) -> str:
        told = "".join(self._told)
        if told.startswith(self._said) and len(self._said) < len(told):
            return ""
        if not self._said.startswith(told):
            raise TextChangedError
        rest, self._said, self._is_level = self._said[len(told) :], "", True
        return self._tell(rest)

    def _reset(self, turn: int) -> None:
        self._begin(turn)
        self._said = ""
        self._is_level = not self._committed and not self._told

    def _commit(self, turn: int) -> str:
        """A step is done: nothing of its text will change."""
        if turn != self._turn or self._is_level:
            return ""
        if not self._committed:
            # It would have caught up by now, had it said as much.
            raise TextChangedError
        said, self._said = self._said, ""
        return self._tell(said)

    def _end(self, final: str) -> str:
        """The run is done, with `final` as what its last turn said."""
        told = "".join(self._told)
        if told.startswith(final) and not told[len(final) :].strip():
            return ""  # an agent that trims what it said says the same
        if not final.startswith(told):
            raise TextChangedError
        return self._tell(final[len(told) :])

    def _tell(self, text: str) -> str:
        if not text:
            return ""
        gap = _BETWEEN if self._has_told and not self._told else ""
        self._told.append(text)
        self._has_told = True
        return gap + text


def _turn_of(step: object) -> int:
    """Return a step's turn; what is no step of the run's own (a call tied to it) has none."""
    found = _STEP.match(step) if isinstance(step, str) else None
    return int(found[1]) if found else 0
