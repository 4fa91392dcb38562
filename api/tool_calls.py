"""A tool call that somebody waits for: started, followed until it has an outcome, told."""

from api.access import Access
from api.services import Services
from api.tail import EarlyTail
from api.views import View, data_of
from api.waiting import follow
from domain.acceptance import Page
from domain.event import EventType
from domain.intake import InvokeTool
from domain.run import Run
from domain.tool import OPEN_STATUSES, ToolCall, ToolCallStatus

_OUTCOMES = frozenset(
    {
        *(EventType.TOOL_RESULT, EventType.OUTCOME_UNKNOWN),
        *(EventType.APPROVAL_REQUIRED, EventType.TOOL_REQUEST),
    }
)
_SLACK_SECONDS = 5.0
"""Beyond the tool's own timeout: what accepting, dispatching and recording may take."""


async def invoke(desk: Services, access: Access, ask: InvokeTool) -> tuple[Run, ToolCall, bool]:
    """Make a tool call and wait for its outcome, at most a little longer than its timeout.

    Returns the run, the call as it stands then, and whether an earlier request had made it.
    """
    early = EarlyTail(desk.events)
    try:
        accepted = await desk.intake.invoke_tool(access.who, ask, early.subscribe)
    except BaseException:
        await early.drop()
        raise
    seconds = accepted.spec.tools[0].timeout_seconds + _SLACK_SECONDS
    await follow(desk, await early.settle(accepted), seconds, _OUTCOMES)
    owner, run_id = access.who.owner, accepted.run.run_id
    run = await desk.runs.get_run(owner, run_id)
    calls, _ = await desk.runs.list_tool_calls(owner, run_id, None, Page(limit=1))
    return run, calls[0], accepted.replayed


def outcome_view(run: Run, call: ToolCall) -> View:
    """Return how a call went: `result`, the `reason` why it is pending, or the `error`."""
    view: View = {"status": "pending", "tool_call_id": call.tool_call_id, "run_id": run.run_id}
    if call.status is ToolCallStatus.SUCCEEDED:
        return view | {"status": "succeeded", "result": data_of(call.result)}
    if call.status is ToolCallStatus.OUTCOME_UNKNOWN:
        path = f"/v1/tool_calls/{call.tool_call_id}/resolve"
        return view | {"reason": f"nobody knows whether the tool acted; say so at POST {path}"}
    if call.status is ToolCallStatus.WAITING_APPROVAL:
        path = f"/v1/approvals?status=pending&run_id={run.run_id}"
        return view | {"reason": f"a person has to approve it first: GET {path}"}
    if call.status is ToolCallStatus.DISPATCHED and not run.is_terminal:
        path = f"/v1/tool_calls/{call.tool_call_id}/wait"
        return view | {"reason": f"a client is asked to run it; wait with POST {path}"}
    if call.status in OPEN_STATUSES and not run.is_terminal:
        path = f"/v1/tool_calls/{call.tool_call_id}"
        return view | {"reason": f"it is {call.status.value}; look again at GET {path}"}
    return view | {"status": "failed", "error": _error_of(run, call)}


def _error_of(run: Run, call: ToolCall) -> View:
    if call.error is not None:
        return dict(call.error)
    if run.error is not None:
        return {"code": run.error.code, "message": run.error.message}
    return {"code": call.status.value, "message": f"the tool call ended {call.status.value}"}
