"""Schedules and firings, as callers get them."""

from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field, JsonValue

from api.shapes.pieces import Page, Shape, example
from domain.run import RunState
from domain.schedule import SchedulePolicy, ScheduleSpec

_FIRING: dict[str, JsonValue] = {
    "firing_id": "fire_01k9-2026-11-20T06:30:00Z",
    "scheduled_at": "2026-11-20T06:30:00.000Z",
    "fired_at": "2026-11-20T06:30:00.041Z",
    "run_id": "run_01k9",
    "state": "DONE",
    "error": None,
}
_SCHEDULE: dict[str, JsonValue] = {
    "schedule_id": "morning-report",
    "run": {"input": "What happened last night?", "agent_id": "assistant"},
    "spec": {
        "cron": ["30 7 * * mon-fri"],
        "intervals": [],
        "calendars": [],
        "skip": [],
        "timezone": "Europe/Berlin",
        "jitter_seconds": 0,
        "start_at": None,
        "end_at": None,
    },
    "policy": {
        "overlap": "skip",
        "catchup_window_seconds": 600,
        "pause_on_failure": False,
    },
    "paused": False,
    "note": "",
    "applied": True,
    "next_runs": ["2026-11-23T06:30:00.000Z"],
    "recent_runs": [_FIRING],
    "created_at": "2026-11-19T10:00:00.000Z",
    "updated_at": "2026-11-19T10:00:00.000Z",
}


class FiringErrorOut(Shape):
    """Why a firing has no run."""

    code: str
    message: str


class FiringOut(Shape):
    """One time of a schedule, and the run it has."""

    model_config = ConfigDict(json_schema_extra=example(_FIRING))

    firing_id: str
    scheduled_at: AwareDatetime
    fired_at: AwareDatetime
    run_id: str | None
    state: Annotated[RunState | None, Field(description="Of the run.")]
    error: FiringErrorOut | None


class FiringList(Page):
    """A page of firings."""

    firings: list[FiringOut]


class ScheduleOut(Shape):
    """A run that starts by the clock."""

    model_config = ConfigDict(json_schema_extra=example(_SCHEDULE))

    schedule_id: str
    run: Annotated[dict[str, Any], Field(description="The start body, as it was sent.")]
    spec: ScheduleSpec
    policy: SchedulePolicy
    paused: bool
    note: str
    applied: Annotated[
        bool, Field(description="Whether the engine knows the schedule as it stands here.")
    ]
    next_runs: Annotated[
        list[AwareDatetime] | None, Field(description="null while the engine does not answer.")
    ]
    recent_runs: list[FiringOut]
    created_at: AwareDatetime
    updated_at: AwareDatetime


class BackfillOut(ScheduleOut):
    """A schedule of which a span is made up for."""

    times: Annotated[
        int, Field(description="How many times the span holds; those that have fired do not again.")
    ]

    model_config = ConfigDict(json_schema_extra=example({**_SCHEDULE, "times": 12}))


class ScheduleList(Page):
    """A page of schedules."""

    schedules: list[ScheduleOut]
