"""Schedules of a stage, as a person keeps them."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from temporalio.client import WorkflowExecutionStatus

from activities.schedules import ASK
from adapters.schedules import TemporalSchedules
from domain.acceptance import Page
from domain.event import EventType
from domain.intake import StartRun
from domain.principal import LOCAL_OWNER
from domain.run import Run
from domain.schedule import Firing, Overlap, Schedule, SchedulePolicy, ScheduleSpec, workflow_of
from domain.scheduling import NewSchedule, Scheduling
from tests.workflows.stage import Stage

LONG = "tokens=5000 gap_ms=50"
YEARLY = ScheduleSpec(cron=("0 0 1 1 *",))


class Desk:
    """Schedules of one stage, as a person keeps them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.engine = TemporalSchedules(stage.gateway)
        self.keeping = Scheduling(stage.storage.schedules, self.engine)
        self.book = stage.storage.schedules

    async def make(
        self, content: str = "say hello", spec: ScheduleSpec = YEARLY, **fields: Any
    ) -> Schedule:
        """Make a schedule of its own; `policy` are fields of it."""
        name = f"s-{self.stage.settings.task_queue}-{len(await self.book.every())}"
        ask = StartRun(
            content=content,
            agent_id=fields.pop("agent_id", "helper"),
            session_id=fields.pop("session_id", None),
            metadata={"mine": 1},
        )
        new = NewSchedule(
            uid=name,
            schedule_id=fields.pop("schedule_id", name),
            owner=LOCAL_OWNER,
            run=json.dumps({"input": content}),
            ask=ASK.dump_json(ask).decode(),
            spec=spec,
            policy=SchedulePolicy(**fields.pop("policy", {})),
            paused=fields.pop("paused", False),
            note="",
            created_by="ann",
        )
        return await self.keeping.create(new)

    async def settled(self) -> Schedule:
        """Make a schedule that has fired once: before, what deletes it may be overtaken."""
        schedule = await self.make()
        await self.trigger(schedule)
        await self.closed((await self.fired(schedule))[0])
        return schedule

    async def trigger(self, schedule: Schedule, overlap: Overlap | None = None) -> None:
        await self.keeping.trigger(LOCAL_OWNER, schedule.schedule_id, overlap)

    async def streaming(self, **fields: Any) -> tuple[Schedule, Run]:
        """Make a schedule and trigger it; return it and its run, once that streams."""
        schedule = await self.make(LONG, **fields)
        await self.trigger(schedule)
        run = await self.run_of(schedule)
        await self.stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
        return schedule, run

    async def firings(self, schedule: Schedule) -> list[Firing]:
        """Return what a schedule has started, oldest first."""
        found, _ = await self.book.firings(schedule.uid, Page(1000))
        return list(reversed(found))

    async def fired(self, schedule: Schedule, count: int = 1) -> list[Firing]:
        """Wait until it has fired so often."""

        async def has() -> bool:
            return len(await self.firings(schedule)) >= count

        await self.stage.until(f"{count} firings", has)
        return await self.firings(schedule)

    async def run_of(self, schedule: Schedule, number: int = 1) -> Run:
        """Return the run of the `number`-th firing."""
        firing = (await self.fired(schedule, number))[number - 1]
        assert firing.run_id is not None, firing
        return await self.stage.get(firing.run_id)

    async def closed(self, firing: Firing) -> WorkflowExecutionStatus:
        """Wait until a firing's workflow is closed and return how."""
        handle = self.stage.client.get_workflow_handle(workflow_of(firing.firing_id))
        status: list[WorkflowExecutionStatus] = []

        async def is_closed() -> bool:
            found = (await handle.describe()).status
            assert found is not None
            status[:] = [found]
            return found is not WorkflowExecutionStatus.RUNNING

        await self.stage.until("the firing's end", is_closed)
        return status[0]

    async def apart(self) -> None:
        """Wait for the next second: Temporal tells two triggers of one second not apart."""
        now = datetime.now(UTC)
        await asyncio.sleep(1.01 - now.microsecond / 1e6)
