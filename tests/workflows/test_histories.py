"""What a run costs in its history, and that eager starts and eager activities really happen."""

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from domain.run import RunState
from tests.workflows.stage import Stage

ONE_CALL = [
    "WORKFLOW_EXECUTION_STARTED",
    "WORKFLOW_TASK_SCHEDULED",
    "WORKFLOW_TASK_STARTED",
    "WORKFLOW_TASK_COMPLETED",
    "ACTIVITY_TASK_SCHEDULED",
    "ACTIVITY_TASK_STARTED",
    "ACTIVITY_TASK_COMPLETED",
    "WORKFLOW_TASK_SCHEDULED",
    "WORKFLOW_TASK_STARTED",
    "WORKFLOW_TASK_COMPLETED",
    "MARKER_RECORDED",
    "WORKFLOW_EXECUTION_COMPLETED",
]
ADD = 'call calculator {"operation": "add", "a": 2, "b": 3}'
WORKFLOWS = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITIES = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


async def queued_tasks(stage: Stage, kind: "TaskQueueType.ValueType") -> float:
    """Return the rate of tasks that went through the stage's queue of late, eager ones not."""
    request = DescribeTaskQueueRequest(
        namespace=stage.client.namespace,
        task_queue=TaskQueue(name=stage.settings.task_queue),
        task_queue_type=kind,
        report_stats=True,
    )
    return (await stage.client.workflow_service.describe_task_queue(request)).stats.tasks_add_rate


async def test_one_model_call_is_twelve_history_events(stage: Stage) -> None:
    run = await stage.run("say hello")

    await stage.closed(run.run_id)
    assert run.state is RunState.DONE
    assert await stage.entries(run.run_id) == ONE_CALL


@pytest.mark.parametrize("turns", [1, 2, 7])
async def test_each_turn_with_a_tool_adds_twelve_history_events(stage: Stage, turns: int) -> None:
    await stage.agent(tools=["calculator"])

    run = await stage.run(f"loop {turns} {ADD}\n---\nsay the result is {{result}}")

    await stage.closed(run.run_id)
    assert run.output is not None
    assert run.output["content"].startswith("[offline] the result is")
    assert len(await stage.entries(run.run_id)) == 12 + 12 * turns


async def test_history_holds_no_text_of_the_conversation(stage: Stage) -> None:
    await stage.agent(tools=["calculator"], instructions="the words canary-instructions")

    run = await stage.run(f"{ADD}\nsay canary-question\n---\nsay canary-answer tokens=400")

    await stage.closed(run.run_id)
    written = b"".join(entry.SerializeToString() for entry in await stage.history(run.run_id))
    assert b"canary" not in written
    assert len(written) < 8_000


async def test_the_first_activity_comes_with_the_reply_to_the_start(stage: Stage) -> None:
    """The start brings the first workflow task, its completion the activity: no queue is used."""
    runs = [await stage.run("say hello") for _ in range(3)]

    for run in runs:
        started = (await stage.history(run.run_id))[0]
        assert started.workflow_execution_started_event_attributes.eager_execution_accepted
    assert await queued_tasks(stage, WORKFLOWS) == 0
    assert await queued_tasks(stage, ACTIVITIES) == 0


async def test_tasks_that_are_not_eager_are_seen_in_the_queue(stage: Stage) -> None:
    """The control of the test above: more than three activities at once are too many to be eager,
    and a start by another client is never eager."""
    await stage.agent(tools=["calculator"])

    await stage.run("\n".join([ADD] * 6) + "\n---\nsay done")

    assert await queued_tasks(stage, ACTIVITIES) > 0
