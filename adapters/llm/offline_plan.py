"""What an offline reply will be: its words, calls and pace. Decides nothing."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from adapters.llm.values import clean
from domain.errors import OrchestratorError

_WORDS = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure on purpose."""

    kind: type[OrchestratorError]
    retry_after: timedelta | None = None
    after: int | None = None
    """Words sent before it; None: after the last."""
    times: int | None = None
    """Attempts with this `id` that fail; None: every one."""
    id: str = ""

    def error(self) -> OrchestratorError:
        """Return the error to raise."""
        message = f"the offline script asked for {self.kind.code}"
        return self.kind(message, retry_after=self.retry_after)


@dataclass(frozen=True, slots=True)
class Plan:
    """One reply. Pauses are in seconds, `usage` overrides the estimate (input, output, cached)."""

    text: str = ""
    tokens: int = 0
    """Numbered words `t0 t1 ...` after the text."""
    calls: tuple[tuple[str, str], ...] = ()
    """Tool name and arguments as JSON text."""
    first_seconds: float = 0.0
    gap_seconds: float = 0.0
    clock: Callable[[str], str] | None = None
    """Stamps a word at its departure."""
    failure: Failure | None = None
    hang_after: int | None = None
    """Words after which nothing more is sent."""
    stop: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)

    @property
    def stop_reason(self) -> str:
        """Why the reply ends, in OpenAI's words."""
        return self.stop or ("tool_calls" if self.calls else "stop")

    def pieces(self, label: str) -> list[str]:
        """Return the words in order, the first one led by `label`."""
        text = self.text
        if not text and not self.tokens and self.calls:
            text = "calling " + ", ".join(name for name, _ in self.calls)
        pieces: list[str] = _WORDS.findall(clean(text))
        if self.tokens:
            if pieces and not pieces[-1][-1].isspace():
                pieces[-1] += " "
            pieces.extend([f"t{at} " for at in range(self.tokens - 1)])
            pieces.append(f"t{self.tokens - 1}")
        if not pieces:
            return [label.rstrip()]
        pieces[0] = label + pieces[0]
        return pieces
