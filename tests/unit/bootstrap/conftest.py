"""The command line as a user has it, against the real API over fakes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from api.app import create_app
from bootstrap.cli import run_command
from tests.fakes.world import World, fake_config
from tests.rig.serving import serving
from tests.unit.bootstrap.threads import in_thread


@dataclass(frozen=True)
class Said:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of the machine and of the checkout out of the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("ORCHESTRATOR_API_URL", "ORCHESTRATOR_API_KEY", "DATABASE_URL", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORCHESTRATOR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process."""

    def run(*arguments: str) -> Said:
        capfd.readouterr()
        code = run_command(arguments)
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def world() -> World:
    return World()


@dataclass
class Stand:
    """A server whose app is the one of the test that runs."""

    url: str = ""
    app: FastAPI = field(default_factory=FastAPI)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def stand() -> Iterator[Stand]:
    stand = Stand()
    with in_thread(serving(cast("FastAPI", stand))) as (host, port):
        stand.url = f"http://{host}:{port}"
        yield stand


@pytest.fixture
def api_url(world: World, stand: Stand) -> str:
    """The API over fakes, on a real socket."""
    stand.app = create_app(world.ports(), fake_config())
    return stand.url


@pytest.fixture
def ask(command: Command, api_url: str) -> Command:
    """Run a command against that API."""
    return lambda *arguments: command(*arguments, "--api-url", api_url)
