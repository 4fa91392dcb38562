"""The worker of a process: activities with their ports, a lease, heartbeats and the reconciler."""

import asyncio
import contextlib
import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from activities.agentchecks import AgentChecks, CheckPorts, CheckSettings
from activities.agents import AgentActivities, AgentPorts, AgentSettings
from activities.chat import ChatActivities, ChatSettings
from activities.children import ChildActivities, ChildPorts, ChildSettings
from activities.decisions import DecisionActivities, DecisionPorts, TakesUnverified
from activities.leases import Holder, WorkerLease
from activities.live import LiveAttempts
from activities.push import Pusher, PushPorts
from activities.reconcile import ReconcilePorts, Reconciler, ReconcileSettings
from activities.runs import RunActivities
from activities.schedules import ScheduleActivities, SchedulePorts
from activities.steps import StepFrame
from activities.tools import ToolActivities
from adapters.ingress import HttpIngress
from adapters.schedules import TemporalSchedules
from adapters.temporal import TemporalGateway
from bootstrap.capabilities import Capabilities
from bootstrap.identity import SortableIds, is_gone, process_name
from bootstrap.intake import intake_ports, intake_settings, model_router
from bootstrap.settings import Settings
from bootstrap.storage import Storage
from bootstrap.tasks import end_all
from domain.clients import Dispatching
from domain.deciding import Deciding
from domain.intake import Intake
from domain.scheduling import Scheduling
from domain.snapshot import Defaults
from domain.stopping import Stopping
from worker import ActivitySet, WorkerLimits, build_worker

_log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.2
"""How long a worker that stops keeps its attempts while its polls end; the SDK does not say when.

An attempt cut earlier may be handed back to such a poll, and Core may drop it: the step then waits
for its heartbeat's timeout.
"""


def new_live_attempts(settings: Settings, storage: Storage) -> LiveAttempts:
    """Return the registry of this process's attempts, under a worker id of its own."""
    worker_id = f"w-{secrets.token_hex(6)}"
    return LiveAttempts(worker_id, settings.worker_slots, storage.clock.now_ms())


@dataclass(frozen=True)
class Push:
    """The event push of a worker, where one is asked for."""

    pusher: Pusher
    receiver: HttpIngress


def build_push(settings: Settings, storage: Storage, worker_id: str) -> Push | None:
    """Return the event push; None while no receiver is named."""
    if settings.ingress_url is None:
        return None
    token = settings.ingress_token
    receiver = HttpIngress(settings.ingress_url, token.get_secret_value() if token else None)
    ports = PushPorts(storage.pushes, storage.events, storage.upkeep, receiver, storage.clock)
    return Push(Pusher(ports, worker_id), receiver)


@dataclass
class WorkerRole:
    """A running worker and its loops."""

    worker: Worker
    live: LiveAttempts
    lease: WorkerLease
    reconciler: Reconciler
    checks: AgentChecks
    drain_seconds: float
    _tasks: list[asyncio.Task[None]]
    push: "Push | None" = None

    async def start(self) -> None:
        """Take over from dead workers, then begin to serve."""
        await self.lease.renew()
        self._tasks = [
            asyncio.create_task(self.lease.keep(), name="worker lease"),
            asyncio.create_task(self.live.heartbeat_forever(), name="heartbeats"),
            asyncio.create_task(self.reconciler.run_forever(), name="reconciler"),
            asyncio.create_task(self.reconciler.watch_engine(), name="engine watch"),
            asyncio.create_task(self.checks.run_forever(), name="agent checks"),
            asyncio.create_task(self.worker.run(), name="temporal worker"),
        ]
        if self.push is not None:
            task = asyncio.create_task(self.push.pusher.run_forever(), name="event push")
            self._tasks.append(task)

    @property
    def watched(self) -> list[asyncio.Task[None]]:
        """Return the tasks none of which may end while the process serves."""
        return self._tasks

    async def stop(self) -> None:
        """Hand open attempts over, stop serving, give the lease back."""
        shutdown = asyncio.create_task(self.worker.shutdown())
        await asyncio.wait({shutdown}, timeout=SETTLE_SECONDS)
        if not await self.live.drain(self.drain_seconds):
            _log.warning("not every attempt ended in %.0f s; others take over", self.drain_seconds)
        try:
            async with asyncio.timeout(self.drain_seconds):
                await shutdown
        except TimeoutError:
            _log.warning("the worker did not stop in time")
        await end_all(self._tasks)
        with contextlib.suppress(Exception):
            await self.lease.drop()
            await self.reconciler.drop()
            await self.checks.drop()
            if self.push is not None:
                await self.push.pusher.drop()
                await self.push.receiver.close()


def build_worker_role(
    settings: Settings,
    client: Client,
    storage: Storage,
    gateway: TemporalGateway,
    live: LiveAttempts,
    can: Capabilities,
) -> WorkerRole:
    """Return a worker with everything in place, not started."""
    clock, ids = storage.clock, SortableIds()
    frame = StepFrame(storage.steps, live, gateway)
    stopping = Stopping(storage.runs, gateway)
    chat = ChatSettings(
        # Below the engine's own limit, so that the attempt itself says why it ended.
        total_seconds=settings.attempt_seconds * 0.98,
        failures=settings.provider_failures,
        max_output_tokens=settings.max_output_tokens,
    )
    agents = AgentSettings(
        idle_seconds=settings.idle_seconds,
        total_seconds=settings.agent_timeout_ms / 1000,
        failures=settings.provider_failures,
        max_output_tokens=settings.max_output_tokens,
    )
    engine = TemporalSchedules(gateway)
    schedules = ScheduleActivities(
        SchedulePorts(
            storage.schedules,
            Intake(
                intake_ports(settings, storage, gateway, can, works_here=True),
                intake_settings(settings),
            ),
            gateway,
            Scheduling(storage.schedules, engine),
            engine,
        )
    )
    activities = ActivitySet(
        chat=ChatActivities(frame, can.models, can.prices, clock, ids, chat),
        agents=AgentActivities(
            frame,
            AgentPorts(can.invoker, storage.agent_health, can.prices, clock, ids),
            agents,
        ),
        tools=ToolActivities(frame, can.toolbox),
        runs=RunActivities(storage.steps, gateway, stopping, engine),
        decisions=DecisionActivities(
            DecisionPorts(storage.approvals, storage.keys),
            TakesUnverified(settings.signal_decisions),
        ),
        children=_children(settings, storage, frame, can),
        schedules=schedules,
    )
    reconciler = Reconciler(
        ReconcilePorts(
            storage.upkeep,
            storage.steps,
            gateway,
            gateway,
            clock,
            Deciding(storage.approvals, gateway),
            stopping,
            Dispatching(storage.clients, gateway),
            {"schedules": schedules.mend, "calls": storage.calls.expire_calls},
        ),
        live.worker_id,
        ReconcileSettings(every_seconds=settings.reconcile_seconds),
    )
    lease = WorkerLease(
        storage.upkeep,
        gateway,
        clock,
        Holder(
            live.worker_id,
            process_name(),
            is_gone,
            renew_seconds=settings.lease_seconds / 4,
            valid_seconds=settings.lease_seconds,
        ),
        on_loss=reconciler.nudge,
    )
    worker = build_worker(
        client,
        activities,
        settings.task_queue,
        WorkerLimits(
            settings.worker_slots,
            settings.cached_runs,
            timedelta(seconds=SETTLE_SECONDS + settings.drain_seconds),
        ),
    )
    push = build_push(settings, storage, live.worker_id)
    checks = AgentChecks(
        CheckPorts(storage.agent_health, can.probe, storage.upkeep, clock),
        live.worker_id,
        CheckSettings(every_seconds=settings.agent_check_seconds),
    )
    return WorkerRole(worker, live, lease, reconciler, checks, settings.drain_seconds, [], push)


def _children(
    settings: Settings, storage: Storage, frame: StepFrame, can: Capabilities
) -> ChildActivities:
    taken_in = intake_settings(settings)
    defaults = Defaults(taken_in.default_limits, taken_in.default_models)
    return ChildActivities(
        frame,
        ChildPorts(
            storage.family, storage.directory, can.toolbox, model_router(settings, storage, can)
        ),
        ChildSettings(defaults, taken_in.max_open_runs),
    )
