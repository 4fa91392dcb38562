"""`agent:<id>`: a durable run behind an OpenAI client."""

import hashlib
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.access import Access
from api.completions.answering import CompletionStream
from api.completions.asking import AGENT_PREFIX, Ask
from api.completions.departure import WhileThere
from api.completions.retelling import HEARD, Retelling, TextChangedError
from api.completions.talk import run_input
from api.completions.wire import DONE, Chunks, completion, problem_chunk
from api.errors import STATUS, Problem, RefusedError, refuse
from api.params import IDEMPOTENCY
from api.replies import reply
from api.routes.runs import headers_of
from api.services import Services
from api.starting import Accept, accept_and_tail, money_problem, wait_for_answer
from api.tail import Tail
from domain.acceptance import Accepted, IdempotencyKey, NewRun
from domain.chat import TokenUsage
from domain.errorlist import leaves
from domain.errors import NotSupportedError
from domain.event import EventType, StoredEvent
from domain.intake import AskAgent, StartRun
from domain.run import Run, RunState

_NOT_FOR_AGENTS = ("tools", "functions", "response_format", "logprobs", "modalities")
"""What a run cannot do for its caller: its agent has tools and a way to answer of its own."""
_STATUS_OF = {cls.code: STATUS[cls] for cls in leaves() if cls in STATUS}
_ENDS = frozenset({EventType.RUN_FAILED, EventType.RUN_CANCELLED})


async def answer(desk: Services, access: Access, ask: Ask, request: Request) -> Response:
    """Start a run and return its answer, or the stream of its text.

    The run is durable: it goes on when the caller goes away.

    Raises:
        NotSupportedError: it is asked for what an agent cannot do for its caller.
        OrchestratorError, RefusedError: the run was not accepted, or failed.
    """
    _refuse(ask)
    accept = _accept(desk, access, ask, _key(access, ask, request))
    if ask.is_stream:
        desk.keeper.admit(access)
        accepted, tail = await accept_and_tail(desk, accept)
        request.scope["run_id"] = accepted.run.run_id
        chunks = Chunks(_answer_id(accepted.run), accepted.run.created_at // 1000, ask.model)
        frames = _frames(tail, chunks, Retelling(committed=ask.is_committed), ask)
        return CompletionStream(desk.keeper, frames, access, _headers(accepted))
    accepted = await accept(_nobody_reads)
    request.scope["run_id"] = accepted.run.run_id
    async with WhileThere(request.receive):
        run = await wait_for_answer(desk, accepted.run, desk.config.max_wait_seconds)
    return _whole(run, ask, _headers(accepted))


def _accept(desk: Services, access: Access, ask: Ask, idempotency: IdempotencyKey | None) -> Accept:
    """Return what has the run accepted: one of its own, or a child of the run it is tied to."""
    agent_id = ask.model.removeprefix(AGENT_PREFIX)
    content = run_input(ask.body["messages"], in_session=ask.session_id is not None)
    if ask.run_id is None:
        start = StartRun(
            content=content,
            agent_id=agent_id,
            session_id=ask.session_id,
            idempotency=idempotency,
        )
        return lambda before: desk.intake.start_run(access.who, start, before)
    if ask.session_id is not None:
        said = "an agent that is asked in a run (x-run-id) takes no x-session-id"
        raise refuse(400, "invalid_header", said)
    child = AskAgent(
        agent_id=agent_id, parent_run_id=ask.run_id, content=content, idempotency=idempotency
    )
    return lambda before: desk.intake.ask_agent(access.who, child, before)


def _nobody_reads(_new: NewRun) -> None:
    """See a run before it exists, for nobody."""


def _refuse(ask: Ask) -> None:
    for name in _NOT_FOR_AGENTS:
        value = ask.body.get(name)
        if value and value != {"type": "text"}:
            said = f"an agent does not take {name} from its caller: its own are what it has"
            raise NotSupportedError(said, field=name)
    if ask.choices > 1:
        raise NotSupportedError("an agent gives one answer", field="n")


def _key(access: Access, ask: Ask, request: Request) -> IdempotencyKey | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not IDEMPOTENCY.fullmatch(key):
        raise refuse(400, "invalid_header", "an Idempotency-Key has 1 to 255 printable characters")
    canonical = json.dumps(ask.body, sort_keys=True)
    return IdempotencyKey(
        scope=f"chat_completions {access.caller} {ask.session_id or ask.run_id or '-'}",
        key=key,
        fingerprint=hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest(),
    )


def _headers(accepted: Accepted) -> dict[str, str]:
    run = accepted.run
    return {
        **headers_of(run, accepted.replayed),
        "x-run-id": run.run_id,
        "x-session-id": run.session_id or "",
        # There is a run now: the official client would make another one where that failed.
        "x-should-retry": "false",
    }


def _answer_id(run: Run) -> str:
    return run.run_id.replace("run_", "chatcmpl-", 1)


# ---------------------------------------------------------------- whole


def _whole(run: Run, ask: Ask, headers: Mapping[str, str]) -> Response:
    if run.state is not RunState.DONE:
        problem = _problem(run)
        raise RefusedError(
            Problem(problem.status, problem.code, problem.detail, headers=dict(headers))
        )
    output = run.output or {}
    usage = TokenUsage(
        input_tokens=run.usage.input_tokens,
        output_tokens=run.usage.output_tokens,
        cached_tokens=run.usage.cached_tokens,
    )
    head = (_answer_id(run), run.created_at // 1000, ask.model)
    reason = _reason(output.get("stop_reason"))
    return reply(completion(head, str(output.get("content", "")), (), reason, usage), 200, headers)


def _problem(run: Run) -> Problem:
    if run.error is not None:
        return _failure(run.error.code, run.error.message)
    if run.is_terminal:
        return _cancelled(run.run_id)
    waiting = money_problem(run)
    if waiting is not None:
        return waiting
    said = f"run {run.run_id} is not done yet; its events are at /v1/runs/{run.run_id}/events"
    return Problem(504, "run_not_done", said)


def _failure(code: str, message: str) -> Problem:
    return Problem(_STATUS_OF.get(code, 502), code, message)


def _cancelled(run_id: str) -> Problem:
    return Problem(409, "run_cancelled", f"run {run_id} was cancelled")


def _reason(stop_reason: object) -> str:
    return stop_reason if isinstance(stop_reason, str) else "stop"


# ---------------------------------------------------------------- streamed


async def _frames(
    tail: Tail, chunks: Chunks, text: Retelling, ask: Ask
) -> AsyncGenerator[bytes, None]:
    yield chunks.role()
    async with aclosing(tail.batches()) as batches:
        async for batch in batches:
            told = ""
            for event in batch:
                if event.type in _ENDS:
                    yield _told(chunks, told) + problem_chunk(_end_of(event))
                    return
                if event.type not in HEARD:
                    continue
                data = json.loads(event.envelope)["data"]
                try:
                    told += text.take(event.type, data)
                except TextChangedError:
                    yield _told(chunks, told) + problem_chunk(_changed(event))
                    return
                if event.type == EventType.RUN_DONE:
                    yield _told(chunks, told) + _closing(chunks, data, ask)
                    return
            if told:
                yield chunks.text(told)


def _told(chunks: Chunks, text: str) -> bytes:
    return chunks.text(text) if text else b""


def _closing(chunks: Chunks, data: dict[str, Any], ask: Ask) -> bytes:
    final = data["final_message"] or {}
    last = chunks.finish(_reason(final.get("stop_reason")))
    if ask.shows_usage:
        used = data["usage"]
        counts = {name: used.get(name, 0) for name in TokenUsage.model_fields}
        last += chunks.usage(TokenUsage(**counts))
    return last + DONE


def _end_of(event: StoredEvent) -> Problem:
    if event.type == EventType.RUN_CANCELLED:
        return _cancelled(event.run_id)
    data = json.loads(event.envelope)["data"]
    return _failure(str(data["code"]), str(data["message"]))


def _changed(event: StoredEvent) -> Problem:
    said = (
        f"run {event.run_id} began its answer anew with other words; its final answer is at"
        f" /v1/runs/{event.run_id}"
    )
    return Problem(502, "text_changed", said)
