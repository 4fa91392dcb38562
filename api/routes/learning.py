"""How runs were routed, and what people say of them."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.bodies import JsonRoute
from api.feedback_bodies import FeedbackBody
from api.learning_views import decision_view, feedback_view
from api.openapi import created
from api.params import FeedbackQuery, RunId
from api.replies import listed, reply
from api.services import Desk, Invoker, Reader
from api.shapes.learning import FeedbackList, FeedbackOut, RouteOut
from domain.acceptance import Page
from domain.event import EventType
from domain.learning.feedback import Feedback, FeedbackFilter

router = APIRouter(tags=["learning"], route_class=JsonRoute)
_MOST_DECISIONS = 1000


@router.get(
    "/v1/runs/{run_id}/route",
    operation_id="get_route",
    responses={200: {"model": RouteOut}, 404: {}},
)
async def get_route(desk: Desk, access: Reader, run_id: RunId) -> Response:
    """Return every decision about who does a run and by which models, with all its scores.

    A run whose agent and models were named has none.
    """
    await desk.runs.get_run(access.who.owner, run_id)
    found = await desk.events.read(run_id, 0, _MOST_DECISIONS, [EventType.ROUTE_DECIDED])
    return reply({"run_id": run_id, "decisions": [decision_view(event) for event in found]})


@router.post(
    "/v1/feedback",
    operation_id="give_feedback",
    status_code=201,
    responses={201: created(FeedbackOut), 404: {}},
)
async def give_feedback(desk: Desk, access: Invoker, body: FeedbackBody) -> Response:
    """Say what a run was worth. Choices of agents and models go by it from now on.

    Whoever rates a run again is heard, and is learned from once. Words go no further than this
    list: what is learned holds checksums of the request.
    """
    said = Feedback(
        feedback_id=desk.ports.intake.ids.new("fb"),
        owner=access.who.owner,
        run_id=body.run_id,
        score=body.rating,
        by=access.who.signature,
        text=body.text,
        improvement=body.improvement,
        created_at=desk.ports.clock.now_ms(),
    )
    kept = await desk.ports.intake.learning.rate(access.who.owner, said)
    return reply(feedback_view(kept), 201, {"location": f"/v1/feedback?run_id={kept.run_id}"})


@router.get("/v1/feedback", operation_id="list_feedback", responses={200: {"model": FeedbackList}})
async def list_feedback(
    desk: Desk, access: Reader, query: Annotated[FeedbackQuery, Query()]
) -> Response:
    """List what was said of runs, newest first."""
    which = FeedbackFilter(query.run_id, query.agent_id, query.status and query.status.value)
    page = Page(query.limit, query.cursor)
    learning = desk.ports.intake.learning
    found, following = await learning.list_feedback(access.who.owner, which, page)
    return listed("feedback", [feedback_view(said) for said in found], following)
