"""Answers that are too weak to count while a higher tier stands behind them (the cascade).

A flaw on an answer's face goes up where that pays by what the run took along when it was accepted.
A run that took nothing along, as one of a chain of named models, goes up with any flaw.
"""

from dataclasses import dataclass
from typing import Any

from domain.chat import StreamEnd
from domain.event import EventDraft, EventType
from domain.order import ChatOrder
from domain.routing.cascade import BROKEN, Step, escalate, step_of
from domain.routing.verifying import Answer, Verdict, verify
from domain.run import RunSpec
from domain.tiers import Cascade


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at an answer came to."""

    passed: bool | None = None
    """Whether nothing is wrong on its face; None: nobody looked."""
    is_broken: bool = False
    """Whether nothing is left of the answer, such as of an empty one."""
    weak: str | None = None
    """Why the answer does not count, where it goes up."""
    events: tuple[EventDraft, ...] = ()

    def on_record(self) -> dict[str, Any]:
        """Return what the step's result keeps, so that the look can be graded by a rating."""
        broken = {"broken": True} if self.is_broken else {}
        return {} if self.passed is None else {"passed": self.passed, **broken}


def look_at(order: ChatOrder, spec: RunSpec, text: str, end: StreamEnd) -> Look:
    """Return whether an answer counts; one that asks for tools is none yet."""
    if not order.escalates or end.tool_calls:
        return Look()
    verdict = verify(Answer(text, stop_reason=end.stop_reason or "stop"))
    if verdict.passed:
        return Look(passed=True)
    step = step_of(spec, order.model)
    if spec.cascade is None or step is None:
        data = {"kind": "escalation", "reason": verdict.reason, "scores": {}}
        return _goes_up(order, verdict, data)
    return _weighed(order, verdict, step, spec.cascade)


def _weighed(order: ChatOrder, verdict: Verdict, step: Step, cascade: Cascade) -> Look:
    found = escalate(step, verdict, cascade.verifier)
    data = found.as_route(step)
    if found.tier is not None:
        return _goes_up(order, verdict, data)
    data |= {"reason": f"{verdict.reason}, but {found.reason}", "step": order.step_id}
    return Look(passed=False, events=(_decided(order, "stayed", data),))


def _goes_up(order: ChatOrder, verdict: Verdict, data: dict[str, Any]) -> Look:
    data |= {"escalated_from": order.model, "step": order.step_id}
    event = _decided(order, "escalated", data)
    return Look(False, verdict.flaw in BROKEN, verdict.reason, (event,))


def _decided(order: ChatOrder, how: str, data: dict[str, Any]) -> EventDraft:
    return EventDraft(type=EventType.ROUTE_DECIDED, key=f"{order.step_id}:{how}", data=data)
