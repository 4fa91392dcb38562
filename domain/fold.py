"""What a run's log says its row must be. Reads envelopes; knows no store.

The law (invariant I3): the events of a run, folded in order, give the run's row. So the log alone
is enough to rebuild what was lost, and a row that disagrees with its log is a bug.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from domain.event import EventType, as_json, as_text
from domain.money import to_pico
from domain.run import (
    RunError,
    RunKind,
    RunState,
    RunUsage,
    WaitingOn,
    assistant_output,
    usage_of,
)
from domain.tool import ToolCallStatus

Data = Mapping[str, Any]

_ENDS = {
    EventType.RUN_DONE: RunState.DONE,
    EventType.RUN_FAILED: RunState.FAILED,
    EventType.RUN_CANCELLED: RunState.CANCELLED,
}


class Folded(BaseModel):
    """The fields of a run that follow from its log."""

    model_config = ConfigDict(frozen=True)

    state: RunState = RunState.CREATED
    waiting_on: WaitingOn | None = None
    output: dict[str, Any] | None = None
    error: RunError | None = None
    usage: RunUsage = RunUsage()
    started_at: int | None = None
    ended_at: int | None = None
    last_seq: int = 0


def fold(envelopes: Iterable[Mapping[str, Any]]) -> Folded:
    """Return what the events of one run add up to.

    Raises:
        ValueError: a gap, a repetition, or an event after the end; names the `seq`.
    """
    folding = _Folding()
    for envelope in envelopes:
        folding.take(envelope)
    return folding.result()


class _Folding:
    """The state of a fold; one method per type that changes something."""

    def __init__(self) -> None:
        self._now = Folded()
        self._kind = RunKind.AGENT
        self._pico = 0
        self._unpriced = 0
        self._counts = dict.fromkeys(
            (
                "input_tokens",
                "output_tokens",
                "cached_tokens",
                "model_calls",
                "tool_calls",
                "turns",
            ),
            0,
        )
        self._texts: dict[str, list[str]] = {}
        self._stops: dict[str, str | None] = {}
        self._begun: set[str] = set()
        self._take: dict[str, Callable[[Data, int], None]] = {
            EventType.RUN_FORKED: self._forked,
            EventType.RUN_STARTED: self._started,
            EventType.RUN_WAITING: self._waiting,
            EventType.RUN_RESUMED: self._resumed,
            EventType.AGENT_STREAM_DELTA: self._delta,
            EventType.AGENT_STREAM_RESET: self._reset,
            EventType.AGENT_INVOKE_DONE: self._answered,
            EventType.LLM_CALL_DONE: self._billed,
            EventType.TOOL_DISPATCHED: self._dispatched,
            EventType.TOOL_RESULT: self._tool_answered,
            EventType.RUN_DONE: self._done,
            EventType.RUN_FAILED: self._failed,
        }

    def take(self, envelope: Mapping[str, Any]) -> None:
        seq, kind = envelope["seq"], envelope["type"]
        if seq != self._now.last_seq + 1:
            raise ValueError(f"seq {seq} follows {self._now.last_seq}")
        if self._now.ended_at is not None:
            raise ValueError(f"seq {seq} ({kind}) comes after the end")
        change = self._take.get(kind)
        if change is not None:
            change(envelope["data"], envelope["ts"])
        if kind in _ENDS:
            self._set(state=_ENDS[kind], waiting_on=None, ended_at=envelope["ts"])
        self._set(last_seq=seq)

    def result(self) -> Folded:
        usage = usage_of(self._pico, self._unpriced, **self._counts)
        return self._now.model_copy(update={"usage": usage})

    def _set(self, **fields: object) -> None:
        self._now = self._now.model_copy(update=fields)

    def _count(self, name: str, by: int = 1) -> None:
        self._counts[name] += by

    def _forked(self, data: Data, _ts: int) -> None:
        self._set(output=data["output"])

    def _started(self, data: Data, ts: int) -> None:
        self._kind = RunKind(data["kind"])
        self._set(state=RunState.RUNNING, started_at=ts)

    def _waiting(self, data: Data, _ts: int) -> None:
        self._set(waiting_on=WaitingOn(data["waiting_on"]))

    def _resumed(self, _data: Data, _ts: int) -> None:
        self._set(waiting_on=None)

    def _delta(self, data: Data, _ts: int) -> None:
        self._texts.setdefault(data["step"], []).append(data["text"])

    def _reset(self, data: Data, _ts: int) -> None:
        self._texts[data["step"]] = []

    def _answered(self, data: Data, _ts: int) -> None:
        """Take the text of the committed attempt; `run_done` has the last word."""
        text = "".join(self._texts.get(data["step"], ()))
        why = self._stops.get(data["step"])
        self._set(output=assistant_output(text, why, data.get("degraded")))
        if data["step"].startswith("invoke-"):
            self._count("turns")

    def _billed(self, data: Data, _ts: int) -> None:
        self._stops[data.get("step", "")] = data.get("stop_reason")
        self._count("model_calls")
        self._count("input_tokens", data["prompt_tokens"])
        self._count("output_tokens", data["completion_tokens"])
        self._count("cached_tokens", data["cached_tokens"])
        if data["cost_usd"] is None:
            self._unpriced += 1
        else:
            self._pico += to_pico(data["cost_usd"])
        # A call to an agent is a turn when its answer is committed, billed or not; a call that is
        # tied to the run from outside is none.
        if data["error"] is None and data.get("step", "llm-").startswith("llm-"):
            self._count("turns")

    def _dispatched(self, data: Data, _ts: int) -> None:
        self._begun.add(data.get("tool_call_id", ""))
        if data["attempt"] == 1:
            self._count("tool_calls")

    def _tool_answered(self, data: Data, _ts: int) -> None:
        was_begun = data.get("tool_call_id") in self._begun
        if data["status"] == ToolCallStatus.REJECTED and not was_begun:
            self._count("tool_calls")
        if self._kind is RunKind.TOOL:
            said = as_json(data["error"]["message"]) if data["error"] else data["result"]
            self._set(output={"role": "tool", "content": as_text(said)})

    def _done(self, data: Data, _ts: int) -> None:
        self._set(output=data["final_message"])

    def _failed(self, data: Data, _ts: int) -> None:
        self._set(error=RunError(code=data["code"], message=data["message"]))
