"""Every workflow loads in Temporal's sandbox with nothing passed through.

Workers run workflows unsandboxed, because the sandbox costs as much again as the run. This is where
code that reads a clock, draws randomness or imports a vendor's SDK into a workflow shows instead.
"""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from temporalio import workflow
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

import worker
import workflows


def defined_workflows() -> Iterator[type]:
    """Return every class in `workflows/` that is a workflow."""
    for module in pkgutil.walk_packages(workflows.__path__, "workflows."):
        loaded = importlib.import_module(module.name)
        for member in vars(loaded).values():
            is_own = isinstance(member, type) and member.__module__ == module.name
            if is_own and workflow._Definition.from_class(member) is not None:
                yield member


WORKFLOWS = list(defined_workflows())


@pytest.mark.parametrize("defined", WORKFLOWS, ids=lambda each: each.__name__)
async def test_a_workflow_loads_in_the_sandbox(defined: type) -> None:
    """Loading needs a running loop, as in a worker, and no server."""
    definition = workflow._Definition.must_from_class(defined)

    SandboxedWorkflowRunner().prepare_workflow(definition)


def test_a_worker_serves_every_workflow() -> None:
    assert set(worker.WORKFLOWS) == set(WORKFLOWS)
    assert WORKFLOWS
