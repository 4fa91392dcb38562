"""The demo's second part: API and worker apart, and the worker killed in mid-stream."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap.children import Child, Serving
from bootstrap.commands.api import Api
from bootstrap.commands.failure import CommandError
from bootstrap.demo.checks import counts_to, was_reset
from bootstrap.demo.stage import Stage
from bootstrap.devserver.server import DevServer, DevServerOptions
from bootstrap.terminal import working

_WORDS = 80
_KILL_AFTER = 20
_COUNT = f"tokens={_WORDS} gap_ms=40 first_ms=100"

Environment = dict[str, str | None]


@dataclass
class _Killing:
    """Kills the worker once enough of the answer is there, and starts another."""

    stage: Stage
    environment: Environment
    worker: Child
    own: contextlib.ExitStack
    pieces: int = 0
    done: bool = False

    def watch(self, event: dict[str, Any]) -> None:
        """Count the pieces of the answer; act at the right one."""
        self.pieces += event["type"] == "agent_stream_delta"
        if self.done or self.pieces < _KILL_AFTER:
            return
        self.done = True
        killed, started = self.worker.pid, time.monotonic()
        self.worker.kill()
        self.stage.say(f">>> SIGKILL: worker {killed} is dead in mid-sentence", "red")
        self.worker = self.own.enter_context(
            Child(["worker"], self.stage.log_file, self.environment)
        )
        self.worker.wait_ready()
        seconds = time.monotonic() - started
        self.stage.say(f">>> worker {self.worker.pid} serves, {seconds:.1f} s later", "green")


def roles_apart(stage: Stage, environment: Environment) -> None:
    """Show that an answer survives its worker."""
    stage.title("Part 2: API and worker apart; the worker is killed in mid-stream")
    with contextlib.ExitStack() as own:
        told = {**environment, **own.enter_context(_temporal(environment))}
        worker = own.enter_context(Child(["worker"], stage.log_file, told))
        api_process = own.enter_context(Child(["api"], stage.log_file, told))
        with working("starting API and worker"):
            worker.wait_ready()
            serving = api_process.wait_ready()
        stage.say(f"API {serving.api} (process {api_process.pid}), worker: process {worker.pid}")
        killing = _Killing(stage, told, worker, own)
        with Api(_address(serving), os.environ.get("ORCHESTRATOR_API_KEY")) as api:
            title = "a count to 80 whose worker dies on the way"
            scene = stage.play(api, title, "demo-storyteller", _COUNT, watch=killing.watch)
        stage.check("the worker was killed while it answered", killing.done)
        stage.check("viewers were told that the answer began again", was_reset(scene.log))
        stage.check(
            f"the answer is complete, in order, once: {_WORDS} words", counts_to(scene.log, _WORDS)
        )


def _address(serving: Serving) -> str:
    if serving.api is None:
        raise CommandError("the API process serves no API")
    return serving.api


@contextlib.contextmanager
def _temporal(environment: Environment) -> Iterator[Environment]:
    """Serve Temporal for processes apart, unless a cluster is named; say how it is reached."""
    if "TEMPORAL_ADDRESS" not in environment:
        yield {}
        return
    folder = Path(str(environment["ORCHESTRATOR_DATA_DIR"]))
    server = DevServer(DevServerOptions(data_file=folder / "temporal.db"))
    with asyncio.Runner() as runner:
        with working("starting the Temporal dev server"):
            info = runner.run(server.start())
        try:
            yield {
                "TEMPORAL_ADDRESS": info.address,
                "ORCHESTRATOR_TEMPORAL_UI_URL": info.ui_url,
            }
        finally:
            runner.run(server.stop())
