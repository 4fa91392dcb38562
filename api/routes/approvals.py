"""Approvals: questions to people, and their answers."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access import Access
from api.bodies import JsonRoute
from api.openapi import APPROVAL_STREAM, one_of
from api.params import ApprovalId, ApprovalQuery, IdempotencyHeader
from api.pending import pending_frames
from api.replies import listed, reply, wants_stream
from api.requests import DecideBody
from api.services import Approver, Desk, Reader
from api.shapes.asking import ApprovalList, ApprovalOut, DecidedOut
from api.sse import EventStream
from api.starting import claim, replay_headers
from api.views import approval_view
from domain.acceptance import Page
from domain.approval import Answer, ApprovalStatus, Remember
from domain.deciding import ApprovalFilter
from domain.errors import InvalidRequestError
from domain.event import encode_json

router = APIRouter(tags=["approvals"], route_class=JsonRoute)


@router.get(
    "/v1/approvals",
    operation_id="list_approvals",
    responses={
        200: one_of(ApprovalList, APPROVAL_STREAM, "A page, or the stream of those that wait.")
    },
)
async def list_approvals(
    desk: Desk, access: Reader, request: Request, query: Annotated[ApprovalQuery, Query()]
) -> Response:
    """List approvals, newest first; `?status=pending` are those that wait for an answer.

    With `Accept: text/event-stream`: all that wait now, of one run if `run_id` says so, then each
    that comes, is passed on or is settled; one that was settled as it came is told as it ended. A
    new stream begins anew.
    """
    book, owner = desk.deciding.book, access.who.owner
    if wants_stream(request):
        if query.status not in (None, ApprovalStatus.PENDING):
            raise InvalidRequestError("a stream is of approvals that wait; leave `status` out")
        desk.keeper.admit(access)
        seconds = desk.config.stream.approvals_seconds
        frames = pending_frames(book, owner, seconds, query.run_id)
        return EventStream(desk.keeper, frames, access)
    which = ApprovalFilter(query.status, query.run_id)
    found, following = await book.list_approvals(owner, which, Page(query.limit, query.cursor))
    return listed("approvals", [approval_view(one) for one in found], following)


@router.get(
    "/v1/approvals/{approval_id}",
    operation_id="get_approval",
    responses={200: {"model": ApprovalOut}, 404: {}},
)
async def get_approval(desk: Desk, access: Reader, approval_id: ApprovalId) -> Response:
    """Return one approval."""
    return reply(
        approval_view(await desk.deciding.book.get_approval(access.who.owner, approval_id))
    )


@router.post(
    "/v1/approvals/{approval_id}/decide",
    operation_id="decide_approval",
    responses={200: {"model": DecidedOut}, 404: {}, 409: {}, 410: {}},
)
async def decide_approval(
    desk: Desk,
    access: Approver,
    approval_id: ApprovalId,
    body: DecideBody,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Approve or reject a tool call; its run goes on.

    The first answer counts: a later one gets 409 and learns who decided, one after the expiry 410,
    or 409 once the run has ended. With an `Idempotency-Key` a repeat after a lost answer is
    answered as the first time. What the policy blocks by now, or as it was edited, is refused
    with 409; nothing is decided then.

    Who decided is on record by the credential, whatever the body says.
    """
    owner, said = access.who.owner, _answer(access, body)
    key = claim("decide_approval", access, approval_id, idempotency_key, body)
    if key is None:
        approval, replayed = await desk.deciding.decide(owner, approval_id, said), False
    else:
        approval, replayed = await desk.deciding.decide_once(owner, approval_id, said, key)
    if approval.decided_at is not None and not replayed:
        waited = (approval.decided_at - approval.created_at) / 1000
        desk.metrics.approval_wait.observe(max(0.0, waited))
    status = None
    if approval.kind == "tool":
        call = await desk.runs.get_tool_call(owner, approval.tool_call_id)
        status = call.status.value
    shown = approval_view(approval) | {"tool_call_status": status}
    return reply(shown, 200, replay_headers(replayed))


def _answer(access: Access, body: DecideBody) -> Answer:
    edited = None if body.edited_args is None else encode_json(body.edited_args)
    return Answer(
        approved=body.decision.lower().startswith("approve"),
        by=access.who.signature,
        reason=body.reason,
        edited_args=edited,
        args_digest=body.args_digest,
        remember=Remember(body.remember),
    )
