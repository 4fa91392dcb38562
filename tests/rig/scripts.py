"""Lines of scripts for the offline model."""

import json


def hand_down(script: str, agent_id: str = "helper", **more: object) -> str:
    """Return the line with which a run has another agent work; `more` are arguments of the call."""
    return f"call spawn_run {json.dumps({'agent_id': agent_id, 'input': script, **more})}"
