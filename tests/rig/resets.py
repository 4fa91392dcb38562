"""Workflows that are begun anew, as an operator does."""

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client

from adapters.temporal import workflow_id


async def reset(client: Client, run_id: str) -> str:
    """Reset a run's workflow; return the new `temporal_run_id`."""
    return await reset_workflow(client, workflow_id(run_id))


async def reset_workflow(client: Client, workflow: str) -> str:
    """Reset a workflow to its first workflow task; return the new `temporal_run_id`."""
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow),
        reason="a test",
        workflow_task_finish_event_id=4,
        request_id=f"reset-{workflow}",
    )
    return (await client.workflow_service.reset_workflow_execution(request)).run_id
