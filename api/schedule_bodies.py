"""What callers send about schedules."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

from api.requests import Body, StartRunBody
from domain.errors import InvalidRequestError
from domain.schedule import Bound, Overlap, ScheduleId, SchedulePolicy, ScheduleSpec


def zone_of(spec: ScheduleSpec) -> ZoneInfo:
    """Return the time zone of a spec.

    Raises:
        InvalidRequestError: there is none of that name here.
    """
    try:
        return ZoneInfo(spec.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidRequestError(
            f"there is no time zone {spec.timezone}; use one as Europe/Berlin"
        ) from error


def _zone_exists(spec: ScheduleSpec) -> ScheduleSpec:
    try:
        zone_of(spec)
    except InvalidRequestError as error:
        raise PydanticCustomError("timezone", "{said}", {"said": error.message}) from error
    return spec


def _left_out() -> Any:  # noqa: ANN401 -- fits every field
    """Stand for a field that was not sent; a null that was sent is refused."""


Spec = Annotated[ScheduleSpec, Field(strict=False), AfterValidator(_zone_exists)]
Policy = Annotated[SchedulePolicy, Field(strict=False)]
TriggerOverlap = Annotated[
    Overlap, Field(strict=False, description="Instead of the schedule's own overlap policy.")
]
BackfillOverlap = Annotated[
    Overlap,
    Field(
        strict=False,
        description="What happens while a run goes on. By default every time waits for its turn;"
        " `skip` and `buffer_one` drop most times of a span.",
    ),
]
Moment = Annotated[Bound, Field(strict=False)]
Note = Annotated[str, Field(max_length=1000)]

_EXAMPLE: dict[str, JsonValue] = {
    "schedule_id": "morning-report",
    "run": {"input": "What happened last night?", "agent_id": "assistant"},
    "spec": {"cron": ["30 7 * * mon-fri"], "timezone": "Europe/Berlin"},
    "policy": {"overlap": "skip", "catchup_window_seconds": 3600},
}
_SPAN: dict[str, JsonValue] = {
    "start_at": "2026-11-20T00:00:00Z",
    "end_at": "2026-11-20T12:00:00Z",
}


class ScheduleBody(Body):
    """A schedule to make. Without an id one is chosen."""

    schedule_id: ScheduleId | None = None
    run: StartRunBody
    spec: Spec
    policy: Policy = SchedulePolicy()
    paused: bool = False
    note: Note = ""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})


class ScheduleChangesBody(Body):
    """What to change of a schedule; a field that is left out stays, one that is sent is replaced.

    `/pause` and `/resume` switch it off and on.
    """

    run: StartRunBody = Field(default_factory=_left_out)
    spec: Spec = Field(default_factory=_left_out)
    policy: Policy = Field(default_factory=_left_out)
    note: Note = Field(default_factory=_left_out)

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"policy": {"overlap": "buffer_one"}}]}
    )


class NoteBody(Body):
    """Why a schedule is paused or goes on."""

    note: Note = ""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "the source is down"}]})


class TriggerBody(Body):
    """How to fire now."""

    overlap: TriggerOverlap | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap": "allow_all"}]})


class BackfillBody(Body):
    """A span of time to make up for; both ends are included."""

    start_at: Moment
    end_at: Moment
    overlap: BackfillOverlap = Overlap.BUFFER_ALL

    model_config = ConfigDict(json_schema_extra={"examples": [_SPAN]})
