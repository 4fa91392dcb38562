"""Blocking tools: whatever a child process does, the worker stays whole and the call ends."""

import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.tools.decorator import tool
from adapters.tools.frames import pack
from adapters.tools.pool import PoolLimits, ProcessPool, ToolRaisedError
from adapters.tools.process import ChildLostError
from adapters.tools.registry import ToolRegistry
from domain.errors import TransientError
from tests.rig.waiting import gone
from tests.unit.adapters.tools import samples
from tests.unit.adapters.tools.calls import call, invocation

TOOLS = [
    samples.process_id,
    samples.environment,
    samples.hang,
    samples.spin,
    samples.leave,
    samples.chatter,
    samples.produce,
    samples.scribble,
    samples.linger,
    samples.fail,
    samples.unwritable,
    samples.slow_library,
]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def registry() -> AsyncIterator[ToolRegistry]:
    toolbox = ToolRegistry(TOOLS, max_result_bytes=1000)
    yield toolbox
    await toolbox.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def warm() -> AsyncIterator[ToolRegistry]:
    """One for tests that leave their process as it was: most of what a test costs is its start."""
    toolbox = ToolRegistry(TOOLS, max_result_bytes=1000)
    yield toolbox
    await toolbox.aclose()


def shares_a_process(test: object) -> object:
    return pytest.mark.traces_children(pytest.mark.asyncio(loop_scope="module")(test))


@asynccontextmanager
async def registry_with(limits: PoolLimits) -> AsyncIterator[ToolRegistry]:
    toolbox = ToolRegistry(TOOLS, pool=ProcessPool(limits))
    yield toolbox
    await toolbox.aclose()


@asynccontextmanager
async def reported_pids() -> AsyncIterator[tuple[int, asyncio.Queue[list[int]]]]:
    """Yield a port, and a queue of the process ids that tools report there."""
    pids: asyncio.Queue[list[int]] = asyncio.Queue()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pids.put_nowait(json.loads(await reader.readline()))
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], pids


@shares_a_process
async def test_blocking_tool_runs_in_another_process_which_is_kept_warm(warm: ToolRegistry) -> None:
    first, second = await call(warm, "process_id"), await call(warm, "process_id")

    assert first.content == second.content
    assert first.content != str(os.getpid())


@shares_a_process
async def test_tool_knows_its_key_and_cannot_read_the_connection(warm: ToolRegistry) -> None:
    outcome = await call(warm, "environment")

    assert json.loads(outcome.content) == {"key": "run_1:tc_1", "run": "run_1", "input": ""}


@pytest.mark.parametrize("name", ["hang", "spin"])
async def test_tool_that_ignores_everything_is_killed_at_its_timeout(
    registry: ToolRegistry, name: str
) -> None:
    async with reported_pids() as (port, pids):
        with pytest.raises(TimeoutError):
            await registry.run(invocation(name, {"port": port}, timeout_seconds=1.0))

        (pid,) = pids.get_nowait()
    await gone(pid)


async def test_cancellation_kills_the_tool_and_what_it_started(registry: ToolRegistry) -> None:
    async with reported_pids() as (port, pids):
        task = asyncio.create_task(call(registry, "hang", port=port, spawn=True))
        tool_pid, grandchild = await pids.get()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await gone(tool_pid)
    await gone(grandchild)


async def test_process_that_ends_without_an_answer_leaves_the_outcome_unknown(
    registry: ToolRegistry,
) -> None:
    with pytest.raises(ChildLostError, match=r"tool leave ended .*exit code 3"):
        await call(registry, "leave", code=3)

    assert (await call(registry, "produce", size=1)).content == "é"


@pytest.mark.parametrize(
    ("header", "why"),
    [([127, 255, 255, 255], "the limit is"), ([0, 0, 0, 2], "something else")],
)
async def test_process_that_breaks_the_protocol_leaves_the_outcome_unknown(
    registry: ToolRegistry, header: list[int], why: str
) -> None:
    with pytest.raises(ChildLostError, match=why):
        await call(registry, "scribble", header=header)


@pytest.mark.parametrize(
    ("module", "name"), [("no_such_module", "x"), (samples.__name__, "not_a_tool")]
)
async def test_tool_that_its_process_cannot_load_did_nothing(
    registry: ToolRegistry, module: str, name: str
) -> None:
    def elsewhere() -> None:
        """Stand somewhere else."""

    elsewhere.__module__, elsewhere.__qualname__ = module, name
    registry.register(tool(name="elsewhere")(elsewhere))

    outcome = await call(registry, "elsewhere")

    assert (outcome.ok, outcome.error_code) == (False, "tool_error")
    assert "cannot be loaded in its process" in outcome.content


async def test_tool_whose_module_leaves_while_it_is_loaded_did_nothing(
    registry: ToolRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is that of a user's own modules; the process gets it as it is here."""
    (tmp_path / "module_that_leaves.py").write_text("import sys\nsys.exit('over')\n")
    monkeypatch.syspath_prepend(tmp_path)

    def elsewhere() -> None:
        """Stand somewhere else."""

    elsewhere.__module__, elsewhere.__qualname__ = "module_that_leaves", "elsewhere"
    registry.register(tool(name="elsewhere")(elsewhere))

    outcome = await call(registry, "elsewhere")

    assert not outcome.ok
    assert "SystemExit: over" in outcome.content


async def test_call_did_nothing_when_no_process_can_be_started(
    registry: ToolRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "no-such-interpreter")

    with pytest.raises(TransientError, match="no tool process can be started"):
        await call(registry, "process_id")


async def test_cancellation_while_a_process_starts_leaves_the_pool_whole(
    registry: ToolRegistry,
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.005):
            await call(registry, "process_id")

    assert (await call(registry, "process_id")).ok


@asynccontextmanager
async def bare_child(
    lifeline: socket.socket,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Streams]]:
    """Start a child without the pool, with a lifeline of the test's own."""
    ours, theirs = socket.socketpair()
    program = f"from adapters.tools.child import main; main({lifeline.fileno()})"
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program),
            stdin=theirs.fileno(),
            pass_fds=[lifeline.fileno()],
            start_new_session=True,
        )
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    yield process, (reader, writer)
    writer.close()


async def test_child_whose_worker_is_gone_ends_at_once() -> None:
    held, lifeline = socket.socketpair()
    held.close()
    with lifeline:
        async with bare_child(lifeline) as (process, _):
            assert await process.wait() == 1


async def test_busy_child_ends_with_its_connection_alone() -> None:
    """What is left where the kernel does not watch the lifeline."""
    held, lifeline = socket.socketpair()
    with held, lifeline:
        async with reported_pids() as (port, pids), bare_child(lifeline) as (process, streams):
            reader, writer = streams
            request = invocation("hang", {"port": port}).model_dump()
            target = samples.hang.target
            writer.write(pack({"target": target, "invocation": request, "max_bytes": 100}))
            await reader.readexactly(len(pack({"kind": "ready"})))
            writer.write(pack({"go": True}))
            await pids.get()
            writer.close()

            assert await process.wait() == -9


async def test_child_without_a_go_ahead_does_nothing_and_leaves() -> None:
    held, lifeline = socket.socketpair()
    with held, lifeline:
        async with reported_pids() as (port, pids), bare_child(lifeline) as (process, streams):
            reader, writer = streams
            request = invocation("hang", {"port": port}).model_dump()
            target = samples.hang.target
            writer.write(pack({"target": target, "invocation": request, "max_bytes": 100}))
            await reader.readexactly(len(pack({"kind": "ready"})))
            writer.close()

            assert await process.wait() == 0
        assert pids.empty()


@shares_a_process
async def test_output_of_a_tool_never_reaches_the_protocol(
    warm: ToolRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="adapters.tools.process")

    outcome = await call(warm, "chatter", size=3_000_000)

    assert outcome.content == "said"
    assert sum(len(record.getMessage()) for record in caplog.records) < 100_000


@shares_a_process
async def test_large_result_is_cut_with_a_named_reason(warm: ToolRegistry) -> None:
    outcome = await call(warm, "produce", size=2_000_000)

    assert outcome.ok
    assert outcome.content.startswith("é" * 500 + "\n[cut: result_too_large, 4000000 bytes")


async def test_thread_left_behind_does_not_hold_the_call(registry: ToolRegistry) -> None:
    assert (await call(registry, "linger")).content == "gone"


@shares_a_process
async def test_coroutine_may_run_in_a_process_too(warm: ToolRegistry) -> None:
    assert (await call(warm, "slow_library", word="x")).content == "X"


@shares_a_process
async def test_declared_failure_is_for_the_model(warm: ToolRegistry) -> None:
    outcome = await call(warm, "fail", how="declared")

    assert (outcome.ok, outcome.error_code) == (False, "tool_error")
    assert outcome.content == "nothing was booked"


@shares_a_process
async def test_transient_failure_rises(warm: ToolRegistry) -> None:
    with pytest.raises(TransientError, match="the line is busy"):
        await call(warm, "fail", how="transient")


@shares_a_process
@pytest.mark.parametrize(("how", "name"), [("odd", "KeyError"), ("exit", "SystemExit")])
async def test_any_other_failure_rises_as_unknown(warm: ToolRegistry, how: str, name: str) -> None:
    with pytest.raises(ToolRaisedError, match=name):
        await call(warm, "fail", how=how)


@shares_a_process
async def test_result_that_is_not_json_is_said_to_the_model(warm: ToolRegistry) -> None:
    outcome = await call(warm, "unwritable")

    assert (outcome.ok, outcome.error_code) == (False, "unusable_result")
    assert "the tool ran" in outcome.content


async def test_warm_process_that_died_meanwhile_is_replaced_unnoticed(
    registry: ToolRegistry,
) -> None:
    """Before the go-ahead nothing has happened, so another process may take the call."""
    noticed = int((await call(registry, "process_id")).content)
    os.kill(noticed, 9)
    await gone(noticed)
    unnoticed = int((await call(registry, "process_id")).content)
    os.kill(unnoticed, 9)

    last = int((await call(registry, "process_id")).content)

    assert len({noticed, unnoticed, last}) == 3


async def test_process_that_cannot_get_ready_did_nothing() -> None:
    async with registry_with(PoolLimits(boot_seconds=0.001)) as registry:
        with pytest.raises(TransientError, match=r"not ready within .* nothing happened"):
            await call(registry, "process_id")


async def test_call_without_a_free_process_is_refused_as_transient() -> None:
    limits = PoolLimits(max_processes=1, slot_seconds=0.05)
    async with registry_with(limits) as registry, reported_pids() as (port, pids):
        task = asyncio.create_task(call(registry, "hang", port=port))
        await pids.get()

        with pytest.raises(TransientError, match="busy; nothing happened"):
            await call(registry, "process_id")
        task.cancel()
        await asyncio.wait({task})


async def test_process_is_retired_after_its_calls_and_after_idling() -> None:
    async with registry_with(PoolLimits(calls_per_process=1)) as registry:
        first, second = await call(registry, "process_id"), await call(registry, "process_id")
        assert first.content != second.content

    async with registry_with(PoolLimits(idle_seconds=0)) as registry:
        pid = int((await call(registry, "process_id")).content)
        await gone(pid)


@pytest.mark.parametrize("name", ["hang", "spin"])
async def test_tool_and_what_it_started_die_with_a_worker_that_is_killed(name: str) -> None:
    """Else attempt 2 on another worker would run beside attempt 1."""
    program = (
        "import asyncio, sys\n"
        "from tests.unit.adapters.tools import samples\n"
        "from tests.unit.adapters.tools.calls import call\n"
        "from adapters.tools.registry import ToolRegistry\n"
        f"registry = ToolRegistry([samples.{name}])\n"
        f"asyncio.run(call(registry, {name!r}, port=int(sys.argv[1]), spawn=True))\n"
    )
    async with reported_pids() as (port, pids):
        worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(port))
        started = await pids.get()
        worker.kill()
        await worker.wait()

    for pid in started:
        await gone(pid)


async def test_closed_registry_leaves_no_process() -> None:
    async with registry_with(PoolLimits()) as registry:
        pid = int((await call(registry, "process_id")).content)

    await gone(pid)


async def test_parallel_calls_use_processes_of_their_own(registry: ToolRegistry) -> None:
    outcomes = await asyncio.gather(*(call(registry, "process_id") for _ in range(3)))

    assert len({outcome.content for outcome in outcomes}) == 3
