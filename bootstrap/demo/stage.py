"""What the demo does with every run: start it over the API, show each event, check the log."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootstrap.commands.api import Api
from bootstrap.commands.event_lines import EventPrinter, usage_text
from bootstrap.commands.failure import CommandError
from bootstrap.commands.follow import RunStream
from bootstrap.commands.wire import Json, at
from bootstrap.demo.checks import LOG_CHECKS
from bootstrap.terminal import out, paint

_SCENE_SECONDS = 90
_INDENT = "  "

Watch = Callable[[dict[str, Any]], None]
"""Sees each event after it was shown."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A run that was shown: `events` as they arrived, `run` as it is on record."""

    events: list[Json]
    log: list[Json]
    run: Json

    @property
    def answer(self) -> str:
        """What the agent said."""
        return str((self.run["output"] or {}).get("content", ""))

    @property
    def session_id(self) -> str:
        """The conversation it belongs to."""
        return str(self.run["session_id"])

    @property
    def agent_id(self) -> str:
        """Who did it."""
        return str(self.run["agent_id"])


@dataclass
class Stage:
    """The demo's output and its books."""

    log_file: Path
    runs: int = 0
    events: int = 0
    tokens: int = 0
    faults: list[str] = field(default_factory=list)
    _printer: EventPrinter = field(default_factory=lambda: EventPrinter(indent=_INDENT))

    def title(self, text: str) -> None:
        """Begin a part."""
        out("\n" + paint(text, "bold", sys.stdout))

    def say(self, text: str, style: str = "dim") -> None:
        """Say what happens behind the scenes."""
        self._printer.finish()
        out(_INDENT + paint(text, style, sys.stdout))

    def check(self, promise: str, kept: bool) -> None:
        """Show whether a promise was kept, and remember it if not."""
        mark = paint("ok", "green", sys.stdout) if kept else paint("NO", "red", sys.stdout)
        out(f"{_INDENT}{mark} {promise}")
        if not kept:
            self.faults.append(promise)

    def play(
        self,
        api: Api,
        title: str,
        agent_id: str,
        asked: str,
        session_id: str | None = None,
        watch: Watch | None = None,
    ) -> Scene:
        """Start a run and show it until it has ended."""
        self.runs += 1
        out("\n" + paint(f"run {self.runs} \u00b7 {title}", "bold", sys.stdout))
        body: Json = {"agent_id": agent_id, "input": asked}
        body |= {"session_id": session_id} if session_id else {}
        started = time.monotonic()
        with within(_SCENE_SECONDS):
            scene = self._play(api, body, watch)
        self._end(scene, time.monotonic() - started)
        return scene

    def _play(self, api: Api, body: Json, watch: Watch | None) -> Scene:
        stream = RunStream(lambda: contextlib.nullcontext(api), start=body)
        seen = []
        for event in stream.events():
            self._printer.show(event)
            seen.append(event)
            if watch is not None:
                watch(event)
        self._printer.finish()
        run_id = str(stream.run_id)
        log = list(api.each(at("/v1/runs/{}/events", run_id), "events"))
        return Scene(seen, log, api.call("GET", at("/v1/runs/{}", run_id)))

    def _end(self, scene: Scene, seconds: float) -> None:
        run, usage = scene.run, scene.run["usage"]
        self.events += len(scene.log)
        self.tokens += usage["input_tokens"] + usage["output_tokens"]
        facts = f"{len(scene.log)} events, {usage_text(usage)}, {seconds:.1f} s"
        style = "green" if run["state"] == "DONE" else "red"
        out(f"{_INDENT}{paint(run['state'], style, sys.stdout)}  {facts}")
        link = run["links"]["temporal_ui"] or "none known (ORCHESTRATOR_TEMPORAL_UI_URL names it)"
        out(f"{_INDENT}Temporal UI: {link}")
        for promise, holds in LOG_CHECKS:
            if not holds(scene.log):
                self.check(promise, kept=False)
        self.check(
            "the viewer saw every event of the log, once and in order",
            kept=[event["seq"] for event in scene.events] == [event["seq"] for event in scene.log],
        )


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail instead of waiting for ever; main thread only."""

    def too_long(_number: int, _frame: object) -> None:
        raise CommandError(f"the run has not ended within {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    left = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
        signal.signal(signal.SIGALRM, before)
