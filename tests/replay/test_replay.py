"""Recorded histories still replay: a deploy does not strand the runs that are in flight.

`python -m tests.replay.record` makes them.
"""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from adapters.payloads import data_converter
from tests.replay.paths import PATHS
from tests.replay.record import HISTORIES
from worker import WORKFLOWS

RECORDED = sorted(HISTORIES.glob("*.json"))
RUNNERS: dict[str, WorkflowRunner] = {
    "unsandboxed": UnsandboxedWorkflowRunner(),
    "sandboxed": SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules("domain", "activities")
    ),
    "sandboxed with nothing passed through": SandboxedWorkflowRunner(),
}


def test_every_way_through_the_workflow_is_recorded() -> None:
    assert {path.stem.rpartition("-")[0] for path in RECORDED} == PATHS.keys()
    assert len([path for path in RECORDED if path.stem.startswith("continued-")]) > 1


@pytest.mark.parametrize("runner", RUNNERS)
async def test_recorded_histories_replay(runner: str) -> None:
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=data_converter,
        workflow_runner=RUNNERS[runner],
    )

    for path in RECORDED:
        result = await replayer.replay_workflow(read(path), raise_on_replay_failure=False)
        assert result.replay_failure is None, f"{path.name}: {result.replay_failure}"


async def test_a_history_of_other_code_does_not_replay() -> None:
    """The control: a replay that finds nothing would prove nothing."""
    path = HISTORIES / "simple-1.json"
    other = path.read_text().replace('"complete_chat"', '"complete_something"')
    replayer = Replayer(workflows=WORKFLOWS, data_converter=data_converter)

    result = await replayer.replay_workflow(
        WorkflowHistory.from_json("simple", other), raise_on_replay_failure=False
    )

    assert result.replay_failure is not None


def read(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())
