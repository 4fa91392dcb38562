"""The table of contents: which workflows and activities a worker serves.

`python worker.py` starts one against TEMPORAL_ADDRESS and DATABASE_URL, as `orchestrator worker`
does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from typing import Any

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.agents import AgentActivities
from activities.chat import ChatActivities
from activities.children import ChildActivities
from activities.decisions import DecisionActivities
from activities.runs import RunActivities
from activities.schedules import ScheduleActivities
from activities.tools import ToolActivities
from workflows.fire import FireWorkflow
from workflows.run import RunWorkflow

WORKFLOWS: Sequence[type] = [RunWorkflow, FireWorkflow]


@dataclass(frozen=True, slots=True)
class ActivitySet:
    """The activities of a worker, with their ports in place."""

    chat: ChatActivities
    agents: AgentActivities
    tools: ToolActivities
    runs: RunActivities
    decisions: DecisionActivities
    children: ChildActivities
    schedules: ScheduleActivities

    def all(self) -> Sequence[Callable[..., Any]]:
        """Return every activity that is served."""
        return [
            self.chat.complete_chat,
            self.agents.invoke_agent,
            self.tools.run_tool,
            self.children.spawn_run,
            self.runs.finalize_run,
            self.runs.begin_run,
            self.runs.read_turn,
            self.runs.read_news,
            self.decisions.decide_unverified,
            self.schedules.fire_schedule,
            self.schedules.read_firing,
            self.schedules.stop_firing,
        ]


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much a worker does at once, how many runs it remembers, how long it may take to stop."""

    slots: int
    cached: int
    grace: timedelta


def build_worker(
    client: Client, activities: ActivitySet, task_queue: str, limits: WorkerLimits
) -> Worker:
    """Return a worker on `client`, which eager starts need to be the one that starts runs."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=activities.all(),
        # By default the SDK hashes the bytecode of every loaded module for this: most of a second.
        build_id=f"orchestrator-{metadata.version('durable-orchestrator')}",
        # Replayed and loaded in the sandbox by the tests; here it would double the cost of a run.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=200,
        max_concurrent_activities=limits.slots,
        max_cached_workflows=limits.cached,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=limits.grace,
    )


if __name__ == "__main__":
    from bootstrap.cli import main

    main(["worker"])
