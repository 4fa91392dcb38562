"""What a run's calls wait for at this moment, and which of it is shown."""

from collections import Counter

PARKED = {
    "outcome_unknown": ("approval", "resolve"),
    "waiting_approval": ("approval", "decide"),
    "waiting_child": ("child", "the run of"),
    "waiting_client": ("client_tool", "answer"),
}
"""Replies that ask somebody to do something about a call: who is waited for, and to do what."""
ORDER = ("approval", "budget", "child", "client_tool", "timer")
"""What is shown first: a person is asked for more than a program."""


class Waits:
    """Counts the calls that wait, by what they wait for."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @property
    def shown(self) -> str | None:
        """What the run waits for, if anything."""
        return next((what for what in ORDER if self._counts[what]), None)

    def begin(self, what: str) -> bool:
        """Note a call that waits; return whether what is shown changed."""
        return self._move(what, 1)

    def end(self, what: str) -> bool:
        """Note that a call goes on; return whether what is shown changed."""
        return self._move(what, -1)

    def _move(self, what: str, by: int) -> bool:
        before = self.shown
        self._counts[what] += by
        return self.shown != before
