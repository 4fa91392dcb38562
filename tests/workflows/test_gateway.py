"""The gateway keeps its promise whatever the server says: done, or `EngineUnavailableError`."""

from datetime import timedelta

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters import temporal as engine
from adapters.payloads import data_converter
from adapters.temporal import TemporalGateway
from domain.errors import EngineUnavailableError
from domain.run import RunState
from tests.rig.temporal import TemporalServer
from tests.workflows.stage import Stage, engine_settings

REFUSALS = (
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.ABORTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNIMPLEMENTED,
    RPCStatusCode.UNAVAILABLE,
)


@pytest.fixture
async def nowhere(stage: Stage, temporal: TemporalServer) -> TemporalGateway:
    """A gateway to a namespace that the server does not have."""
    client = await Client.connect(
        temporal.address, namespace="nowhere", data_converter=data_converter
    )
    return TemporalGateway(client, engine_settings(stage.settings, "nowhere"))


async def test_a_start_where_no_namespace_is_can_be_made_up_for(
    stage: Stage, nowhere: TemporalGateway
) -> None:
    stage.gateway.mismatch = "the line is cut"
    run = await stage.start("say hello")
    spec = await stage.storage.upkeep.spec_of(run.run_id)

    with pytest.raises(EngineUnavailableError):
        await nowhere.start(run, spec, queued=False)

    assert (await stage.get(run.run_id)).state is RunState.CREATED


async def test_a_run_is_not_lost_because_its_namespace_is_not_there(
    stage: Stage, nowhere: TemporalGateway
) -> None:
    run = await stage.run("say hello")

    with pytest.raises(EngineUnavailableError):
        await nowhere.look(run.run_id)
    assert await nowhere.check() is not None


class Refusing:
    """A client whose server refuses everything."""

    namespace = "default"

    def __init__(self, status: RPCStatusCode) -> None:
        self._status = status

    def __getattr__(self, name: str) -> object:
        if name in ("workflow_service", "service_client"):
            return self
        if name.startswith("get_"):
            return lambda *_, **__: self
        return self._refuse

    async def _refuse(self, *_: object, **__: object) -> None:
        raise RPCError("refused", self._status, b"")


@pytest.mark.parametrize("status", REFUSALS)
async def test_every_refusal_has_one_name(stage: Stage, status: RPCStatusCode) -> None:
    run = await stage.run("say hello")
    spec = await stage.storage.upkeep.spec_of(run.run_id)
    gateway = TemporalGateway(
        Refusing(status),  # type: ignore[arg-type]
        engine_settings(stage.settings, "default"),
    )
    calls = (
        gateway.start(run, spec, queued=False),
        gateway.cancel(run.run_id),
        gateway.wake(run.run_id),
        gateway.look(run.run_id),
        gateway.list_open(),
        gateway.fail_attempt(b"token"),
        gateway.reset_sticky(run.run_id),
    )

    for call in calls:
        with pytest.raises(EngineUnavailableError):
            await call
    assert await gateway.is_wanted(run.run_id, "llm-1-1", 1) is False


async def test_what_is_not_there_is_no_error_but_for_a_start(stage: Stage) -> None:
    run = await stage.run("say hello")
    spec = await stage.storage.upkeep.spec_of(run.run_id)
    gateway = TemporalGateway(
        Refusing(RPCStatusCode.NOT_FOUND),  # type: ignore[arg-type]
        engine_settings(stage.settings, "default"),
    )

    await gateway.cancel(run.run_id)
    await gateway.wake(run.run_id)
    await gateway.reset_sticky(run.run_id)

    assert await gateway.look(run.run_id) == ("missing", "missing")
    assert await gateway.fail_attempt(b"token") is False
    with pytest.raises(EngineUnavailableError):
        await gateway.start(run, spec, queued=False)


async def test_a_workflow_task_of_a_lost_worker_is_given_up_after_five_seconds(
    stage: Stage,
) -> None:
    """The server's own ten would double how long a run stands still after its worker is killed."""
    run = await stage.run("say hello")

    started = (await stage.history(run.run_id))[0].workflow_execution_started_event_attributes

    assert started.workflow_task_timeout.ToTimedelta() == timedelta(seconds=5)


async def test_the_list_shows_runs_that_are_open_and_them_only(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page: here of one each, so that there are several."""
    monkeypatch.setattr(engine, "_LIST_PAGE", 1)
    done = await stage.run("say hello")
    on = {(await stage.start("stall")).run_id for _ in range(3)}

    async def is_listed() -> bool:
        shown = await stage.gateway.list_open()
        return on <= shown and done.run_id not in shown

    await stage.until("the list has caught up", is_listed)


async def test_an_engine_that_is_not_the_stores_own_has_no_list(stage: Stage) -> None:
    stage.gateway.mismatch = "another cluster"

    with pytest.raises(EngineUnavailableError, match="another cluster"):
        await stage.gateway.list_open()
