"""Answers that are too weak to count while a higher tier stands behind them (the cascade)."""

from domain.chat import StreamEnd
from domain.event import EventDraft, EventType
from domain.order import ChatOrder
from domain.routing.verifying import Answer, verify


def weakness(order: ChatOrder, text: str, end: StreamEnd) -> str | None:
    """Return what is wrong with an answer on its face, None when it counts."""
    if not order.escalates:
        return None
    seen = Answer(text, stop_reason=end.stop_reason or "stop", tool_calls=len(end.tool_calls))
    verdict = verify(seen)
    return None if verdict.passed else verdict.reason


def escalation(order: ChatOrder, weak: str) -> EventDraft:
    """Return the `route_decided` of going up."""
    data = {
        "kind": "escalation",
        "reason": weak,
        "escalated_from": order.model,
        "step": order.step_id,
        "scores": {},
    }
    key = f"{order.step_id}:escalated"
    return EventDraft(type=EventType.ROUTE_DECIDED, key=key, data=data)
