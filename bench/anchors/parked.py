"""parked: a bare Temporal workflow that waits for a signal and then runs one activity.

On the server that ours uses, with the worker settings of ours, in a process of its own. Speaks
lines of JSON: `park` starts workflows and waits until each waits, `wake` signals some of them, one
at a time, and takes the time until the activity began.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import GrpcCompression
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

_QUEUE = "bench-parked"
_CACHED = 100


@workflow.defn(name="Parked")
class ParkedWorkflow:
    """Waits, then does one thing."""

    def __init__(self) -> None:
        self._go = False

    @workflow.run
    async def run(self) -> None:
        """Wait for `go`."""
        await workflow.wait_condition(lambda: self._go)
        await workflow.execute_activity("note", start_to_close_timeout=timedelta(seconds=60))

    @workflow.signal
    def go(self) -> None:
        """Let it go on."""
        self._go = True


class Parked:
    """The anchor at work."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._names: list[str] = []
        self.began_ns: dict[str, int] = {}

    @activity.defn(name="note")
    async def note(self) -> None:
        """Note when the activity of a workflow began."""
        self.began_ns[activity.info().workflow_id or ""] = time.monotonic_ns()

    async def park(self, order: dict[str, Any]) -> dict[str, Any]:
        """Start workflows; the first of them are evicted by the last."""
        for _ in range(order["runs"]):
            name = f"parked-{os.getpid()}-{len(self._names)}"
            await self._client.start_workflow(ParkedWorkflow.run, id=name, task_queue=_QUEUE)
            self._names.append(name)
        return {"parked": len(self._names)}

    async def wake(self, order: dict[str, Any]) -> dict[str, Any]:
        """Signal the oldest workflows; return milliseconds until their activities began."""
        return {"start_ms": [await self._wake_one(order["pause"]) for _ in range(order["runs"])]}

    async def _wake_one(self, pause: float) -> float:
        await asyncio.sleep(pause)
        name = self._names.pop(0)
        handle = self._client.get_workflow_handle(name)
        asked = time.monotonic_ns()
        await handle.signal("go")
        await handle.result()
        return (self.began_ns.pop(name) - asked) / 1e6


async def _serve(address: str) -> None:
    client = await Client.connect(address, grpc_compression=GrpcCompression.NONE)
    anchor = Parked(client)
    worker = Worker(
        client,
        task_queue=_QUEUE,
        workflows=[ParkedWorkflow],
        activities=[anchor.note],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=200,
        max_cached_workflows=_CACHED,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    )
    known = {"park": anchor.park, "wake": anchor.wake}
    async with worker:
        _say({"ready": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            try:
                _say(await known[order["do"]](order))
            except Exception as error:  # noqa: BLE001 - told to who asked
                _say({"error": repr(error)})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    asyncio.run(_serve(parser.parse_args(arguments).address))


if __name__ == "__main__":
    main()
