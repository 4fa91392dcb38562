"""Starting a run's child: its row is there already, so all that counts is that somebody starts it.

Nothing is taken from the handle: a reset or a continue-as-new of the parent would lose it. The
child's end comes from the store, after its `finalize` sent `wake`.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from domain.order import ChildOrder, Timing
    from workflows.naming import workflow_id

_KEYS = ("AgentId", "SessionId", "GoalId", "RunKind")


async def start_child(child: ChildOrder, timing: Timing) -> None:
    """Start a child, or adopt the one that is there. Returns once it has begun."""
    order = child.run.model_copy(update={"timing": timing})
    try:
        handle = await workflow.start_child_workflow(
            "RunWorkflow",
            order,
            id=workflow_id(order.run_id),
            # Neither the parent's end nor its cancel reaches the child here: both go by the store.
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            task_timeout=timedelta(seconds=5),
            search_attributes=_attributes(child),
            static_summary=child.summary,
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("child %s is there already", order.run_id)
        return
    handle.add_done_callback(lambda task: task.cancelled() or task.exception())


def _attributes(child: ChildOrder) -> TypedSearchAttributes:
    run = child.run
    values = (run.agent_id, run.session_id, child.goal_id, run.kind.value)
    return TypedSearchAttributes(
        [
            SearchAttributePair(SearchAttributeKey.for_keyword(key), value)
            for key, value in zip(_KEYS, values, strict=True)
            if value
        ]
    )
