"""`schedules ...`: runs that start by the clock."""

import re
from typing import Annotated, Any

import typer

from bootstrap.commands.failure import CommandError
from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, Limit, examples
from bootstrap.commands.output import out_json, out_list, out_object
from bootstrap.commands.servers import connect
from bootstrap.commands.wire import at
from bootstrap.terminal import harmless, out

schedules = typer.Typer(help="Have runs start by the clock.", no_args_is_help=True)

ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE_ID")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; shown with the schedule.")]
Overlap = Annotated[
    str | None,
    typer.Option(
        "--overlap",
        metavar="POLICY",
        help="While an earlier run goes on: skip, buffer_one, buffer_all, cancel_other,"
        " terminate_other or allow_all.",
    ),
]
SpanOverlap = Annotated[
    str | None,
    typer.Option(
        "--overlap",
        metavar="POLICY",
        help="While an earlier run goes on: buffer_all if left out, so that none is dropped;"
        " allow_all runs them side by side; skip and buffer_one drop most.",
    ),
]
_COLUMNS = ("schedule_id", "paused", "overlap", "last", "next", "note", "when")
_FIRING_COLUMNS = ("scheduled_at", "fired_at", "state", "run_id", "error")
_EVERY = re.compile(r"(\d{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Where = tuple[str | None, str | None]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(schedules, name="schedules")


@schedules.command("list", epilog=examples("orchestrator schedules list"))
def list_schedules(
    limit: Limit = 100, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """List schedules, newest first."""
    with connect(api_url, api_key) as api:
        found = api.pages("/v1/schedules", "schedules", limit)
    rows = found if as_json else [_row(one) for one in found]
    out_list(rows, _COLUMNS, as_json=as_json, empty="there are no schedules")


def _row(schedule: dict[str, Any]) -> dict[str, Any]:
    spec, recent, upcoming = schedule["spec"], schedule["recent_runs"], schedule["next_runs"]
    every = [f"every {one['every_seconds']} s" for one in spec["intervals"]]
    times = [*spec["cron"], *every, *("calendar" for _ in spec["calendars"])]
    return {
        **schedule,
        "overlap": schedule["policy"]["overlap"],
        "last": recent[0]["scheduled_at"] if recent else None,
        "next": upcoming[0] if upcoming else None,
        "when": f"{', '.join(times)} ({spec['timezone']})",
    }


@schedules.command("show", epilog=examples("orchestrator schedules show morning-report"))
def show_schedule(
    schedule_id: ScheduleId, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one schedule: what it starts, its last firings and next times."""
    with connect(api_url, api_key) as api:
        out_object(api.call("GET", at("/v1/schedules/{}", schedule_id)), as_json=as_json)


@schedules.command("firings", epilog=examples("orchestrator schedules firings morning-report"))
def list_firings(
    schedule_id: ScheduleId,
    limit: Limit = 20,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List what a schedule has started, newest first; of a deleted one too."""
    with connect(api_url, api_key) as api:
        found = api.pages(at("/v1/schedules/{}/firings", schedule_id), "firings", limit)
    out_list(found, _FIRING_COLUMNS, as_json=as_json, empty="it has not fired yet")


@schedules.command(
    "create",
    epilog=examples(
        'orchestrator schedules create morning-report "What happened last night?" \\',
        '      --cron "30 7 * * mon-fri" --timezone Europe/Berlin --catchup 1h',
        'orchestrator schedules create watch "Is the site up?" --every 5m --session watch',
    ),
)
def create_schedule(  # noqa: PLR0913 - each option is a parameter
    schedule_id: ScheduleId,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What is asked each time.")],
    *,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="AGENT_ID", help="Who does it.")
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session", metavar="SESSION_ID", help="One conversation for all; else one each."
        ),
    ] = None,
    cron: Annotated[
        list[str] | None,
        typer.Option("--cron", metavar="FIELDS", help="minute hour day month weekday; repeatable."),
    ] = None,
    every: Annotated[
        list[str] | None,
        typer.Option("--every", metavar="TIME", help="As 30s, 5m, 2h or 1d; repeatable."),
    ] = None,
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="As Europe/Berlin.")
    ] = "UTC",
    jitter: Annotated[
        str, typer.Option("--jitter", metavar="TIME", help="A random delay, at most this long.")
    ] = "0s",
    overlap: Overlap = None,
    catchup: Annotated[
        str | None,
        typer.Option("--catchup", metavar="TIME", help="How late a missed run may start (10m)."),
    ] = None,
    pause_on_failure: Annotated[
        bool, typer.Option("--pause-on-failure", help="Pause when a run fails.")
    ] = False,
    paused: Annotated[bool, typer.Option("--paused", help="Do not fire yet.")] = False,
    note: Note = "",
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Make a schedule."""
    policy: dict[str, Any] = {"pause_on_failure": pause_on_failure}
    if overlap is not None:
        policy["overlap"] = overlap
    if catchup is not None:
        policy["catchup_window_seconds"] = _seconds(catchup)
    run = {"input": prompt, "agent_id": agent, "session_id": session}
    body = {
        "schedule_id": schedule_id,
        "run": {name: value for name, value in run.items() if value is not None},
        "spec": {
            "cron": cron or [],
            "intervals": [{"every_seconds": _seconds(one)} for one in every or ()],
            "timezone": timezone,
            "jitter_seconds": _seconds(jitter),
        },
        "policy": policy,
        "paused": paused,
        "note": note,
    }
    with connect(api_url, api_key) as api:
        made = api.call("POST", "/v1/schedules", body=body)
    _said(made, as_json=as_json, what="is made")


def _seconds(text: str) -> int:
    match = _EVERY.fullmatch(text.strip())
    if match is None:
        raise CommandError(f"{text!r} is not a time as 30s, 5m, 2h or 1d", code=2)
    return int(match[1]) * _SECONDS[match[2]]


def _said(schedule: dict[str, Any], *, as_json: bool, what: str) -> None:
    if as_json:
        out_json(schedule)
        return
    upcoming = schedule["next_runs"]
    following = f"; next: {upcoming[0]}" if upcoming else ""
    out(harmless(f"schedule {schedule['schedule_id']} {what}{following}"))


@schedules.command(
    "pause", epilog=examples('orchestrator schedules pause watch --note "on holiday"')
)
def pause_schedule(
    schedule_id: ScheduleId,
    note: Note = "",
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Switch a schedule off; runs that go on are left alone."""
    said = _post(schedule_id, "pause", {"note": note}, (api_url, api_key))
    _said(said, as_json=as_json, what="is paused")


@schedules.command("unpause", epilog=examples("orchestrator schedules unpause watch"))
def unpause_schedule(
    schedule_id: ScheduleId,
    note: Note = "",
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Switch a schedule on again, from its next time on."""
    said = _post(schedule_id, "resume", {"note": note}, (api_url, api_key))
    _said(said, as_json=as_json, what="goes on")


@schedules.command("trigger", epilog=examples("orchestrator schedules trigger watch"))
def trigger_schedule(
    schedule_id: ScheduleId,
    overlap: Overlap = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Fire now, paused or not."""
    said = _post(schedule_id, "trigger", _overlap(overlap), (api_url, api_key))
    _said(said, as_json=as_json, what="is triggered")


@schedules.command(
    "backfill",
    epilog=examples(
        "orchestrator schedules backfill watch 2026-11-20T00:00:00Z 2026-11-20T06:00:00Z"
    ),
)
def backfill_schedule(  # noqa: PLR0913 - each option is a parameter
    schedule_id: ScheduleId,
    start_at: Annotated[str, typer.Argument(metavar="FROM", help="ISO 8601, with a zone.")],
    end_at: Annotated[str, typer.Argument(metavar="TO", help="ISO 8601, with a zone.")],
    *,
    overlap: SpanOverlap = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Fire for the times of a past span that have not fired, one after the other.

    A span holds at most 1,000 times.
    """
    body = {"start_at": start_at, "end_at": end_at, **_overlap(overlap)}
    said = _post(schedule_id, "backfill", body, (api_url, api_key))
    if as_json:
        out_json(said)
        return
    many = "1 time lies" if said["times"] == 1 else f"{said['times']} times lie"
    out(harmless(f"schedule {said['schedule_id']} makes up for it: {many} in that span"))


@schedules.command("delete", epilog=examples("orchestrator schedules delete watch"))
def delete_schedule(
    schedule_id: ScheduleId, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Remove a schedule; runs that go on are left alone."""
    with connect(api_url, api_key) as api:
        api.call("DELETE", at("/v1/schedules/{}", schedule_id))
    if as_json:
        out_json({"schedule_id": schedule_id, "deleted": True})
    else:
        out(f"schedule {schedule_id} is deleted")


def _overlap(overlap: str | None) -> dict[str, str]:
    return {} if overlap is None else {"overlap": overlap}


def _post(schedule_id: str, verb: str, body: dict[str, Any], where: Where) -> dict[str, Any]:
    with connect(*where) as api:
        said: dict[str, Any] = api.call(
            "POST", at("/v1/schedules/{}/", schedule_id) + verb, body=body
        )
    return said
