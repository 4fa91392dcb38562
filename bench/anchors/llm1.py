"""llm1: a bare Temporal workflow whose one activity makes one streamed model call.

Started eagerly on the server that ours uses, unsandboxed, with the client and worker settings of
ours. It has a process of its own, so that its CPU is seen alone. Speaks lines of JSON: `sequence`
runs one at a time, `load` keeps a number in flight, `history` tells the events of any workflow.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx2
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import GrpcCompression
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

_QUEUE = "bench-llm1"
_SLOTS = 200


@workflow.defn(name="Llm1")
class Llm1Workflow:
    """One model call."""

    @workflow.run
    async def run(self, prompt: str) -> str:
        """Call the model."""
        answer: str = await workflow.execute_activity(
            "call_model",
            prompt,
            result_type=str,
            start_to_close_timeout=timedelta(seconds=60),
        )
        return answer


class ModelCalls:
    """The activity; notes when the first token of each workflow was there."""

    def __init__(self, url: str) -> None:
        self._http = httpx2.AsyncClient(
            trust_env=False,
            timeout=httpx2.Timeout(60),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
            headers={"authorization": "Bearer x", "accept-encoding": "identity"},
        )
        self._url = f"{url}/chat/completions"
        self.first_ns: dict[str, int] = {}

    @activity.defn(name="call_model")
    async def call_model(self, prompt: str) -> str:
        """Return the answer of one streamed call."""
        body = {
            "model": "fake",
            "stream": True,
            "messages": [{"role": "user", "content": prompt}],
        }
        pieces: list[str] = []
        async with self._http.stream("POST", self._url, json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    choices = json.loads(line[6:])["choices"]
                    text = choices[0]["delta"].get("content") if choices else None
                    if text:
                        if not pieces:
                            self._note_first()
                        pieces.append(text)
        return "".join(pieces)

    def _note_first(self) -> None:
        self.first_ns[activity.info().workflow_id or ""] = time.monotonic_ns()


class Llm1:
    """The anchor at work: starts workflows and takes the time."""

    def __init__(self, client: Client, calls: ModelCalls) -> None:
        self._client = client
        self._calls = calls
        self._number = 0

    async def one(self, prompt: str, answer: str) -> tuple[float, float]:
        """Run one workflow; return milliseconds to the first token and to the result.

        Raises:
            ValueError: the answer is another one.
        """
        self._number += 1
        name = f"llm1-{os.getpid()}-{self._number}"
        started = time.monotonic_ns()
        handle = await self._client.start_workflow(
            Llm1Workflow.run, prompt, id=name, task_queue=_QUEUE, request_eager_start=True
        )
        said = await handle.result()
        ended = time.monotonic_ns()
        if said != answer:
            raise ValueError(f"the answer is {said[:200]!r}")
        first = self._calls.first_ns.pop(name)
        return (first - started) / 1e6, (ended - started) / 1e6

    async def sequence(self, order: dict[str, Any]) -> dict[str, Any]:
        """Run workflows one at a time, with a pause before each."""
        times = []
        for _ in range(order["runs"]):
            await asyncio.sleep(order["pause"])
            times.append(await self.one(order["prompt"], order["answer"]))
        return {"first_ms": [first for first, _ in times], "total_ms": [all_ for _, all_ in times]}

    async def load(self, order: dict[str, Any]) -> dict[str, Any]:
        """Keep workflows in flight for some seconds; what was started is finished."""
        started = time.monotonic()
        until = started + order["seconds"]
        totals: list[float] = []

        async def keep_one() -> None:
            while time.monotonic() < until:
                _, total = await self.one(order["prompt"], order["answer"])
                totals.append(total)

        await asyncio.gather(*(keep_one() for _ in range(order["in_flight"])))
        return {"seconds": time.monotonic() - started, "total_ms": totals}

    async def history(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return the events of a workflow over all its runs: kind, size, activity id."""
        first_run: str | None = order.get("temporal_run_id")
        runs = []
        while True:
            handle = self._client.get_workflow_handle(order["workflow_id"], run_id=first_run)
            events, following = [], ""
            async for event in handle.fetch_history_events():
                kind = event.WhichOneof("attributes") or ""
                scheduled = event.activity_task_scheduled_event_attributes
                name = scheduled.activity_id if "scheduled" in kind else ""
                events.append([kind, event.ByteSize(), name])
                continued = event.workflow_execution_continued_as_new_event_attributes
                following = continued.new_execution_run_id or following
            runs.append(events)
            if not following:
                return {"runs": runs}
            first_run = following


async def _first_run(client: Client, workflow_id: str) -> str:
    """Return the first of a workflow's runs, once the last has closed: its end is wanted too."""
    await client.get_workflow_handle(workflow_id).result()
    described = await client.get_workflow_handle(workflow_id).describe()
    return described.raw_description.workflow_execution_info.first_run_id


async def _serve(address: str, url: str) -> None:
    client = await Client.connect(
        address,
        data_converter=pydantic_data_converter,
        grpc_compression=GrpcCompression.NONE,
    )
    calls = ModelCalls(url)
    worker = Worker(
        client,
        task_queue=_QUEUE,
        workflows=[Llm1Workflow],
        activities=[calls.call_model],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=200,
        max_concurrent_activities=_SLOTS,
        max_cached_workflows=500,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    )
    anchor = Llm1(client, calls)
    known: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
        "sequence": anchor.sequence,
        "load": anchor.load,
        "history": anchor.history,
    }
    async with worker:
        _say({"ready": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            if order["do"] == "history":
                order["temporal_run_id"] = await _first_run(client, order["workflow_id"])
            try:
                _say(await known[order["do"]](order))
            except Exception as error:  # noqa: BLE001 - told to who asked
                _say({"error": repr(error)})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--model-url", required=True)
    given = parser.parse_args()
    asyncio.run(_serve(given.address, given.model_url))
    os._exit(0)  # the interpreter may crash after the SDK was used: tests/exit_guard.py
