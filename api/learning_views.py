"""Routing decisions and feedback as callers see them."""

import json

from api.views import View, iso
from domain.event import StoredEvent
from domain.learning.feedback import Feedback
from domain.learning.pins import Pin

_HEAD = ("kind", "agent_id", "tier", "reason", "scores")


def decision_view(event: StoredEvent) -> View:
    """Return one decision; under `detail` is all that it was weighed by."""
    envelope = json.loads(event.envelope)
    data = envelope["data"]
    return {
        "seq": event.seq,
        "at": iso(envelope["ts"]),
        "kind": data.get("kind", "agent"),
        "agent_id": data.get("agent_id"),
        "tier": data.get("tier"),
        "reason": data["reason"],
        "scores": data.get("scores", {}),
        "detail": {name: value for name, value in data.items() if name not in _HEAD},
    }


def feedback_view(said: Feedback) -> View:
    """Return a piece of feedback."""
    return {
        "feedback_id": said.feedback_id,
        "run_id": said.run_id,
        "agent_id": said.agent_id,
        "score": said.score,
        "text": said.text,
        "improvement": said.improvement,
        "by": said.by,
        "status": said.status.value,
        "created_at": iso(said.created_at),
    }


def pin_view(pin: Pin) -> View:
    """Return a pin."""
    return {
        "agent_id": pin.agent_id,
        "pinned_by": pin.pinned_by,
        "pinned_at": iso(pin.pinned_at),
    }
