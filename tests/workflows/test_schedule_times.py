"""Times of schedules: a span is made up for once, and Temporal reads them as we do (fault 40)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.principal import LOCAL_OWNER
from domain.schedule import Overlap, ScheduleSpec
from tests.workflows.desk import Desk
from tests.workflows.stage import Stage

pytestmark = pytest.mark.timeout(120)


async def test_a_span_is_made_up_for_once(stage: Stage) -> None:
    desk = Desk(stage)
    spec = ScheduleSpec.model_validate({"intervals": [{"every_seconds": 3600}]})
    schedule = await desk.make(spec=spec, paused=True)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    span = (int((end - timedelta(hours=2)).timestamp() * 1000), int(end.timestamp() * 1000))

    await desk.keeping.backfill(LOCAL_OWNER, schedule.schedule_id, span, Overlap.BUFFER_ALL)
    await desk.fired(schedule, 3)
    await desk.keeping.backfill(LOCAL_OWNER, schedule.schedule_id, span, Overlap.BUFFER_ALL)
    for firing in await desk.firings(schedule):
        await desk.closed(firing)

    times = [firing.scheduled_at for firing in await desk.firings(schedule)]
    assert times == [span[0], span[0] + 3_600_000, span[1]]


async def upcoming(desk: Desk, since: str, **spec: Any) -> list[str]:
    """Return the next times of a spec from a day in the future on, in UTC."""
    whole = {"timezone": "Europe/Berlin", "start_at": f"{since}T00:00:00Z", **spec}
    schedule = await desk.make(spec=ScheduleSpec.model_validate(whole))
    times = await desk.engine.upcoming(schedule.uid)
    return [datetime.fromtimestamp(ms / 1000, UTC).strftime("%m-%d %H:%M") for ms in times]


async def test_days_on_which_clocks_move_fire_at_most_once(stage: Stage) -> None:
    """Fault 40: 2:30 does not exist on 28 March 2027, and comes twice on 31 October."""
    desk = Desk(stage)
    nightly = {"cron": ["30 2 * * *"]}

    spring = await upcoming(desk, "2027-03-26", **nightly)
    autumn = await upcoming(desk, "2027-10-29", **nightly)

    assert spring[:3] == ["03-26 01:30", "03-27 01:30", "03-29 00:30"]
    assert autumn[:4] == ["10-29 00:30", "10-30 00:30", "10-31 01:30", "11-01 01:30"]


async def test_temporal_reads_times_as_we_do(stage: Stage) -> None:
    desk = Desk(stage)

    either = await upcoming(desk, "2026-12-01", cron=["0 12 13,24 * fri"], timezone="UTC")
    workdays = await upcoming(
        desk,
        "2026-12-01",
        calendars=[{"hour": "9-17/4", "day_of_week": "mon-fri"}],
        skip=[{"hour": "*", "minute": "*", "second": "*", "day_of_month": "2"}],
        timezone="UTC",
    )
    sundays = await upcoming(desk, "2026-12-01", cron=["0 0 * * 7"], timezone="UTC")

    assert either[:6] == [f"12-{day} 12:00" for day in ("04", "11", "13", "18", "24", "25")]
    assert workdays[:4] == ["12-01 09:00", "12-01 13:00", "12-01 17:00", "12-03 09:00"]
    assert sundays[:2] == ["12-06 00:00", "12-13 00:00"]
