"""How a run is named in Temporal: run `run_x` is workflow `run-x`."""


def workflow_id(run_id: str) -> str:
    """Return the Temporal workflow id of a run."""
    return f"run-{run_id.removeprefix('run_')}"


def run_id_of(temporal_workflow_id: str) -> str:
    """Return the run of a Temporal workflow id."""
    return f"run_{temporal_workflow_id.removeprefix('run-')}"
