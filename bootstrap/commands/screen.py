"""How `orchestrator run` looks: the answer on stdout as it grows, all else on stderr."""

import sys
from dataclasses import dataclass
from typing import Any

from bootstrap.commands.event_lines import summary
from bootstrap.terminal import harmless, note, out, paint

_NOTED = ("run_waiting", "model_fallback", "outcome_unknown", "route_decided", "tool_call_created")
_SHORT = 200


@dataclass
class RunScreen:
    """One run's way onto the screen.

    A program that reads our stdout gets the committed answer only. A person sees it grow: text
    of an attempt that was lost is marked as such, and the answer is shown again.
    """

    live: bool
    _text: str = ""
    """What of the current attempt is on the screen."""

    def show(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind, data = event["type"], event["data"]
        if kind == "agent_stream_delta":
            self._delta(str(data["text"]))
        elif kind == "agent_stream_reset":
            if self._text:
                self._end_line()
                self._say("(that attempt was lost; the answer begins again)", "yellow")
        elif kind == "tool_result":
            self._end_line()
            self._say(f"  = {summary(event)}", "cyan")
        elif kind in _NOTED:
            self._end_line()
            self._say(f"  {summary(event)}", "cyan" if kind == "tool_call_created" else "dim")
        elif kind == "run_done":
            self._answer(str((data.get("final_message") or {}).get("content") or ""))

    def _delta(self, text: str) -> None:
        if self.live:
            out(harmless(text), end="")
            self._text += text

    def _answer(self, content: str) -> None:
        """Show the committed answer, unless it is what stands on the screen."""
        if not self.live:
            out(content)
        elif self._text != content:
            self._end_line()
            out(harmless(content))
        else:
            self._end_line()
        self._text = ""

    def _end_line(self) -> None:
        if self._text and not self._text.endswith("\n"):
            out("")
        self._text = ""

    def _say(self, text: str, style: str) -> None:
        line = harmless(" ".join(text.split("\n")))
        note(paint(line if len(line) <= _SHORT else line[:_SHORT] + "...", style, sys.stderr))
