"""From a start body to a run: keys for repeats, waiting for an end."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable

from pydantic import BaseModel

from api.access import Access
from api.client_tools import run_tools
from api.errors import Problem, refuse
from api.moments import ms_of, start_ms
from api.requests import StartRunBody
from api.services import Services
from api.tail import EarlyTail, Tail
from api.waiting import follow
from domain.acceptance import Accepted, IdempotencyKey, NewRun
from domain.agent import Limits
from domain.errors import InvalidRequestError
from domain.event import EventType
from domain.intake import StartRun
from domain.run import Run
from domain.session import OnBusy

Accept = Callable[[Callable[[NewRun], None]], Awaitable[Accepted]]
"""Has a run accepted; what it is given sees the run before it exists."""


def claim(
    route: str, access: Access, session_id: str | None, key: str | None, body: BaseModel
) -> IdempotencyKey | None:
    """Return the promise that a repeat of this request is the same one, if the caller gave it."""
    if key is None:
        return None
    canonical = json.dumps(body.model_dump(mode="json"), sort_keys=True)
    return IdempotencyKey(
        scope=f"{route} {access.caller} {session_id or '-'}",
        key=key,
        fingerprint=hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest(),
    )


def one_key(header: str | None, inside: str | None) -> str | None:
    """Return the key of a request that may carry it as a header, in its body, or both.

    Raises:
        RefusedError: they hold different ones.
    """
    if header and inside not in {None, header}:
        raise refuse(400, "conflicting_keys", "header and body hold different idempotency keys")
    return header or inside


def replay_headers(replayed: bool) -> dict[str, str] | None:
    """Return what tells a caller that an earlier request did what this one asks for."""
    return {"idempotency-replayed": "true"} if replayed else None


def start_of(body: StartRunBody, idempotency: IdempotencyKey | None, now_ms: int) -> StartRun:
    """Return the request that a start body stands for.

    Raises:
        InvalidRequestError: its times make no sense.
    """
    start_at = start_ms(body.start_delay, body.start_at, now_ms)
    if start_at is not None and body.on_busy not in {None, "enqueue"}:
        said = "a run that starts later waits for its session: on_busy enqueue"
        raise InvalidRequestError(said, field="on_busy")
    limits = body.limits.model_dump() if body.limits else {}
    return StartRun(
        content=body.input if isinstance(body.input, str) else body.input.content,
        agent_id=body.agent_id,
        session_id=body.session_id,
        on_busy=OnBusy(body.on_busy) if body.on_busy else None,
        context=body.context,
        limits=Limits.model_validate(limits),
        priority=body.priority,
        start_at=start_at,
        deadline_at=ms_of(body.deadline, now_ms),
        metadata=body.metadata,
        client_tools=run_tools(body.client_tools, body.tool_host_id),
        required_tools=tuple(body.requires.tools) if body.requires else (),
        goal_id=body.goal_id,
        idempotency=idempotency,
    )


async def start_and_tail(desk: Services, access: Access, ask: StartRun) -> tuple[Accepted, Tail]:
    """Start a run with a reader of its events in place before it exists."""
    return await accept_and_tail(
        desk, lambda before: desk.intake.start_run(access.who, ask, before)
    )


async def accept_and_tail(desk: Services, accept: Accept) -> tuple[Accepted, Tail]:
    """Have a run accepted with a reader of its events in place before it exists."""
    early = EarlyTail(desk.events)
    try:
        accepted = await accept(early.subscribe)
    except BaseException:
        await early.drop()
        raise
    # The engine is told before the answer is built: it is what the reader waits for.
    await asyncio.sleep(0)
    return accepted, await early.settle(accepted)


async def wait_for_end(desk: Services, run: Run, seconds: float) -> Run:
    """Return the run once it has ended, or as it is after `seconds` or at a shutdown."""
    if run.is_terminal:
        return run
    await follow(desk, Tail(desk.events, run.run_id, run.last_seq), seconds, frozenset())
    return await desk.runs.get_run(run.owner, run.run_id)


async def wait_for_answer(desk: Services, run: Run, seconds: float) -> Run:
    """Wait as for its end, but no longer than it goes on: a person raises a budget in hours."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while not run.is_terminal and run.waiting_on != "budget":
        left = until - loop.time()
        if left <= 0 or desk.keeper.stopping.is_set():
            break
        tail = Tail(desk.events, run.run_id, run.last_seq)
        await follow(desk, tail, left, {EventType.RUN_WAITING})
        run = await desk.runs.get_run(run.owner, run.run_id)
    return run


def money_problem(run: Run) -> Problem | None:
    """Return what a caller is told of a run that waits for a budget to be raised."""
    if run.waiting_on != "budget":
        return None
    said = (
        f"run {run.run_id} waits until somebody raises its budget, and goes on then: decide"
        f" /v1/approvals?run_id={run.run_id}"
    )
    return Problem(402, "budget_exhausted", said)
