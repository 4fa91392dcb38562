"""The embedded Temporal server, real: start, restart, refusals, kill and recovery."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus

from bootstrap.devserver.binary import sidecar_path
from bootstrap.devserver.find import Search
from bootstrap.devserver.lock import find_process
from bootstrap.devserver.server import DevServer, DevServerInfo, DevServerOptions, OnRestart
from bootstrap.temporal_setup import SEARCH_ATTRIBUTES, create_namespace, prepare_namespace
from domain.errors import SetupError
from tests.rig.temporal import note_other_version

AT_ONCE = timedelta(0)

Make = Callable[..., DevServer]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Make servers on one data file; whatever was started is killed in the end."""
    made: list[DevServer] = []

    def build(on_restart: OnRestart | None = None, **options: object) -> DevServer:
        defaults: dict[str, object] = {"data_file": tmp_path / "t.db", "ui_port": None}
        server = DevServer(DevServerOptions(**{**defaults, **options}), on_restart)  # type: ignore[arg-type]
        made.append(server)
        return server

    yield build
    for server in made:
        await server.stop(AT_ONCE)


async def start_workflow(address: str) -> None:
    """Leave something on the server that a restart must keep; no worker ever runs it."""
    client = await Client.connect(address)
    await client.start_workflow("Nobody", id="kept", task_queue="nowhere")


async def is_kept(address: str) -> bool:
    client = await Client.connect(address)
    description = await client.get_workflow_handle("kept").describe()
    return description.status is WorkflowExecutionStatus.RUNNING


async def test_a_server_starts_and_says_where_it_is(make: Make, tmp_path: Path) -> None:
    server = make(ui_port=0)

    info = await server.start()

    assert info.is_new_file
    assert info.version == Search().find().server_version
    assert info.ui_url is not None
    _, page = await asyncio.open_connection("127.0.0.1", int(info.ui_url.rpartition(":")[2]))
    page.close()
    assert await Client.connect(info.address)
    assert await asyncio.to_thread(_answers_http, info.side_ports[0], "/api/v1/namespaces")
    assert await asyncio.to_thread(_answers_http, info.side_ports[1], "/metrics")
    assert find_process(info.pid) is not None


def _answers_http(port: int, path: str) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return bool(answer.status == 200)


async def test_a_server_that_is_stopped_ends_and_gives_its_file_up(make: Make) -> None:
    server = make()
    info = await server.start()

    await server.stop()

    assert await server.wait_dead() == 0, "it ended by itself, not killed"
    assert find_process(info.pid) is None
    again = make()
    assert not (await again.start()).is_new_file


async def test_data_survive_a_kill_and_a_start(make: Make) -> None:
    first = make()
    await start_workflow((await first.start()).address)
    await first.stop(AT_ONCE)

    info = await make().start()

    assert await is_kept(info.address)


async def test_a_port_that_is_taken_is_refused_and_the_file_is_free(make: Make) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        with pytest.raises(SetupError, match="wanted for Temporal's server"):
            await make(port=taken.getsockname()[1]).start()

    assert (await make().start()).is_new_file


async def test_a_missing_binary_is_one_sentence(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_CLI_PATH", "/nowhere/temporal")

    with pytest.raises(SetupError, match="TEMPORAL_CLI_PATH names /nowhere/temporal"):
        await make().start()


async def test_another_version_is_refused_and_nothing_is_lost(make: Make, tmp_path: Path) -> None:
    first = make()
    await start_workflow((await first.start()).address)
    await first.stop()
    before = sidecar_path(tmp_path / "t.db").read_text()
    note_other_version(tmp_path / "t.db")

    with pytest.raises(SetupError, match=r"written by Temporal server 1\.30\.0"):
        await make().start()

    sidecar_path(tmp_path / "t.db").write_text(before)
    assert await is_kept((await make().start()).address)


async def test_restart_unfinished_keeps_the_old_file_and_starts_on_a_new_one(
    make: Make, tmp_path: Path
) -> None:
    first = make()
    await first.start()
    await first.stop(AT_ONCE)
    note_other_version(tmp_path / "t.db")

    info = await make(restart_unfinished=True).start()

    assert info.is_new_file
    assert info.set_aside == tmp_path / "t.db.1.30.0"
    assert info.set_aside.stat().st_size > 100_000, "the write-ahead log is folded in"


async def test_a_damaged_note_is_refused_and_restart_unfinished_keeps_the_old_file(
    make: Make, tmp_path: Path
) -> None:
    first = make()
    await first.start()
    await first.stop(AT_ONCE)
    sidecar_path(tmp_path / "t.db").write_text("garbage\n")

    with pytest.raises(SetupError, match="nobody knows which Temporal server wrote"):
        await make().start()
    info = await make(restart_unfinished=True).start()

    assert info.set_aside == tmp_path / "t.db.unknown"


async def test_a_damaged_file_is_refused_and_restart_unfinished_keeps_it(
    make: Make, tmp_path: Path
) -> None:
    first = make()
    await first.start()
    await first.stop(AT_ONCE)
    damaged = os.urandom(50_000)
    (tmp_path / "t.db").write_bytes(damaged)

    with pytest.raises(SetupError, match=r"t\.db is damaged.*--restart-unfinished"):
        await make().start()
    info = await make(restart_unfinished=True).start()

    assert info.set_aside == tmp_path / "t.db.unknown"
    assert info.set_aside.read_bytes() == damaged
    await start_workflow(info.address)


async def test_a_data_file_without_its_note_is_served_and_noted(make: Make, tmp_path: Path) -> None:
    first = make()
    await start_workflow((await first.start()).address)
    await first.stop(AT_ONCE)
    sidecar_path(tmp_path / "t.db").unlink()

    info = await make().start()

    assert await is_kept(info.address)
    assert info.version in sidecar_path(tmp_path / "t.db").read_text()


async def test_a_second_server_on_the_same_file_is_refused_and_the_first_lives(make: Make) -> None:
    info = await make().start()

    with pytest.raises(SetupError, match="is in use by an orchestrator"):
        await make().start()

    assert await Client.connect(info.address)


async def test_a_leftover_is_ended_and_its_data_are_kept(make: Make, tmp_path: Path) -> None:
    first = make()
    info = await first.start()
    await start_workflow(info.address)
    lock_file = tmp_path / "t.db.lock"
    noted = lock_file.read_bytes()
    await first.stop()
    leftover = await start_detached(tmp_path / "t.db")
    content = json.loads(noted) | {"server_pid": leftover}
    process = find_process(leftover)
    assert process is not None
    lock_file.write_text(json.dumps(content | {"server_mark": process.mark}))

    info = await make().start()

    assert info.ended_leftover == leftover
    assert await is_kept(info.address)


async def start_detached(data_file: Path) -> int:
    """Start a server that does not die with us, as on a system without a parent-death signal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Search().find().path), "server", "start-dev", "--headless", "--port", str(port)]
    with (data_file.parent / "detached.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            *(*command, "--db-filename", str(data_file)), stdout=log, stderr=log
        )
    for _ in range(500):
        try:
            await Client.connect(f"127.0.0.1:{port}")
        except RuntimeError:
            await asyncio.sleep(0.02)
        else:
            return process.pid
    raise AssertionError("the detached server did not start")


async def test_a_killed_server_comes_back_on_its_ports_and_is_set_up_again(make: Make) -> None:
    told: asyncio.Queue[DevServerInfo] = asyncio.Queue()
    server = make(told.put, ui_port=0)
    first = await server.start()
    await start_workflow(first.address)
    watching = asyncio.create_task(server.watch())

    os.kill(first.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        second = await told.get()

    assert second.pid != first.pid
    assert (second.address, second.ui_url) == (first.address, first.ui_url)
    assert second.side_ports == first.side_ports
    assert second.restarts == 1
    assert await is_kept(second.address)
    await server.stop(AT_ONCE)
    await watching


async def test_a_server_that_keeps_dying_is_given_up(make: Make) -> None:
    async def kill(info: DevServerInfo) -> None:
        os.kill(info.pid, signal.SIGKILL)

    server = make(kill)
    info = await server.start()
    os.kill(info.pid, signal.SIGKILL)

    with pytest.raises(SetupError, match="died 6 times within seconds"):
        async with asyncio.timeout(60):
            await server.watch()


async def test_a_set_up_that_fails_on_a_living_server_is_not_hidden(make: Make) -> None:
    async def fail(_: DevServerInfo) -> None:
        raise LookupError("set-up is broken")

    server = make(fail)
    info = await server.start()
    os.kill(info.pid, signal.SIGKILL)

    with pytest.raises(LookupError, match="set-up is broken"):
        async with asyncio.timeout(60):
            await server.watch()


async def test_a_server_that_ends_while_it_starts_is_told_with_its_log(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "temporal"
    broken.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo "temporal version 1 (Server 1.31.2, UI 1)" && exit\n'
        "echo schema is broken; exit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("TEMPORAL_CLI_PATH", str(broken))

    with pytest.raises(SetupError, match=r"ended while it started.*schema is broken"):
        await make().start()

    monkeypatch.delenv("TEMPORAL_CLI_PATH")
    await make(data_file=tmp_path / "t.db", restart_unfinished=True).start()


async def test_a_server_whose_free_port_was_taken_meanwhile_is_started_on_others(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script stands for the race: its first start fails as if the port were gone."""
    real = Search().find().path
    script = tmp_path / "temporal"
    script.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --version ] && exec {real} --version\n'
        f"[ -e {tmp_path}/tried ] || {{ touch {tmp_path}/tried; exit 1; }}\n"
        f'exec {real} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("TEMPORAL_CLI_PATH", str(script))

    info = await make().start()

    assert (tmp_path / "tried").exists()
    assert await Client.connect(info.address)


async def test_the_namespace_is_prepared_once_and_again(make: Make) -> None:
    client = await Client.connect((await make().start()).address)

    for _ in range(2):
        await prepare_namespace(client, timedelta(days=30))

    described = await describe_namespace(client)
    assert described == (30, set(SEARCH_ATTRIBUTES))


async def test_a_namespace_that_is_missing_is_created(make: Make) -> None:
    client = await Client.connect((await make().start()).address, namespace="ours")

    for _ in range(2):
        await create_namespace(client, timedelta(days=5))

    assert await describe_namespace(client) == (5, set(SEARCH_ATTRIBUTES))


async def describe_namespace(client: Client) -> tuple[int, set[str]]:
    namespace = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    days = namespace.config.workflow_execution_retention_ttl.ToTimedelta().days
    return days, set(listed.custom_attributes) & set(SEARCH_ATTRIBUTES)


def test_setup_finds_the_server_and_starts_nothing() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "bootstrap.devserver.find"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr
    assert "Temporal server" in found.stderr
