"""Records the histories that `test_replay.py` replays: `python -m tests.replay.record [name ...]`.

From a real server, so that the flags of the SDK's core are in them. Record anew only when a path is
new: an old recording that no longer replays is a run of a user that would be stuck after a deploy.
"""

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path

from adapters.store.database.urls import SqliteFile
from adapters.store.schema.migrate import upgrade
from adapters.temporal import workflow_id
from bootstrap.exit import leave
from bootstrap.logs.telemetry import forward_core_logs
from tests.replay.paths import PATHS
from tests.rig.temporal import TemporalServer
from tests.rig.tools import TARGETS
from tests.workflows.stage import Stage, open_stage

HISTORIES = Path(__file__).parent / "histories"
SOON = {"limit.historyCount.suggestContinueAsNew": "40"}

_LOCAL = {"identity": "recorder", "stackTrace": ""}
"""Fields that name where a history was made; no replay looks at them."""

_STICKY = re.compile(r"\d+@[^\"]*?-(?=[0-9a-f]{32}\")")
"""A sticky queue begins with the name of its worker."""


async def record(name: str, server: TemporalServer, folder: Path) -> list[str]:
    """Go one way for real, and return the history of each of its executions as JSON."""
    store = folder / f"{name}.db"
    upgrade(SqliteFile(store))
    async with open_stage(server.address, folder, store, tools=TARGETS) as stage:
        await stage.agent(tools=("calculator", "hang", "charge_and_raise"))
        run_id = await PATHS[name](stage)
        if run_id.startswith("fire-"):
            return [await _history_of(stage, run_id)]
        await stage.closed(run_id)
        rows = await stage.rows(
            "SELECT temporal_run_id FROM run_executions WHERE run_id = :run ORDER BY ordinal",
            run=run_id,
        )
        histories = []
        for row in rows:
            handle = stage.client.get_workflow_handle(
                workflow_id(run_id), run_id=row["temporal_run_id"]
            )
            histories.append((await handle.fetch_history()).to_json())
        return histories


async def _history_of(stage: Stage, workflow: str) -> str:
    """Return the history of a workflow that has closed, by its Temporal id."""
    handle = stage.client.get_workflow_handle(workflow)

    async def is_closed() -> bool:
        return (await handle.describe()).close_time is not None

    await stage.until(f"{workflow} closes", is_closed)
    return (await handle.fetch_history()).to_json()


async def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in names:
            place = folder / name
            place.mkdir()
            server = TemporalServer(place, SOON if name == "continued" else {}).start()
            try:
                for number, history in enumerate(await record(name, server, place), start=1):
                    target = HISTORIES / f"{name}-{number}.json"
                    target.write_text(scrubbed(history))
                    print(target.name)
            finally:
                server.close()


def scrubbed(history: str) -> str:
    """Return a history without the process, machine and folders that made it."""
    document = json.loads(history)
    _scrub(document)
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    return _STICKY.sub("recorder-", text)


def _scrub(value: object) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _LOCAL and isinstance(inner, str):
                value[name] = _LOCAL[name]
            else:
                _scrub(inner)
    elif isinstance(value, list):
        for inner in value:
            _scrub(inner)


if __name__ == "__main__":
    forward_core_logs()
    HISTORIES.mkdir(exist_ok=True)
    asyncio.run(main(sys.argv[1:] or list(PATHS)))
    leave(0)
