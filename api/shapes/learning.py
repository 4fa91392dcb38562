"""Routing decisions and feedback, as callers get them."""

from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from api.shapes.pieces import JsonObject, Page, Shape, example
from domain.learning.feedback import FeedbackStatus

Scores = Annotated[dict[str, float], Field(description="Per agent or tier, the higher the better.")]


class DecisionOut(Shape):
    """One decision: an agent, a tier of models, or going up to a higher one.

    `detail` is all that it was weighed by: of an agent `criteria`, `weights` and who was
    `excluded`; of a tier `qualities`, `complexity` and its `parts`. An escalation has
    `escalated_from` where it went up; its `scores` are `wrong`, `gain` and `price`.
    """

    seq: int
    at: AwareDatetime
    kind: Annotated[str, Field(examples=["agent", "tier", "escalation"])]
    agent_id: str | None
    tier: str | None
    reason: str
    scores: Scores
    detail: JsonObject


class RouteOut(Shape):
    """How a run was routed, in order."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "run_id": "run_01k9",
                "decisions": [
                    {
                        "seq": 2,
                        "at": "2026-11-20T10:00:00.000Z",
                        "kind": "agent",
                        "agent_id": "math",
                        "tier": None,
                        "reason": "math fits the request best",
                        "scores": {"math": 0.75, "writer": 0.58},
                        "detail": {"explored": False, "propensity": 0.96},
                    }
                ],
            }
        )
    )

    run_id: str
    decisions: list[DecisionOut]


class FeedbackOut(Shape):
    """What somebody said of a run. `by` is the credential behind it."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "feedback_id": "fb_01k9",
                "run_id": "run_01k9",
                "agent_id": "math",
                "score": 1.0,
                "text": "exactly",
                "improvement": None,
                "by": "local",
                "status": "learned",
                "created_at": "2026-11-20T10:00:05.000Z",
            }
        )
    )

    feedback_id: str
    run_id: str
    agent_id: str | None
    score: Annotated[float, Field(ge=-1, le=1)]
    text: str | None
    improvement: str | None
    by: str
    status: Annotated[
        FeedbackStatus,
        Field(
            description="`learned`: choices go by it; `pending`: its improvement was not looked"
            " at yet; `kept`: it taught nothing, for its author had rated the run before."
        ),
    ]
    created_at: AwareDatetime


class FeedbackList(Page):
    """One page of feedback."""

    feedback: list[FeedbackOut]


class PinOut(Shape):
    """The agent that does every run of the owner that names none. `pinned_by` is the credential."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "agent_id": "assistant",
                "pinned_by": "local",
                "pinned_at": "2026-11-20T10:00:00.000Z",
            }
        )
    )

    agent_id: str
    pinned_by: str
    pinned_at: AwareDatetime
