"""`complete_chat`: one model call as a step.

Side effect: one request to a provider. Idempotency: run id and step id; a closed step returns its
stored reply. Heartbeat: every second. Provider failures are counted in the step's row, and the
policy's last one is final; lost workers and drains are not failures.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

from temporalio import activity

from activities import bills, failures
from activities.bills import Meter
from activities.deltas import DeltaWriter
from activities.held import explain
from activities.live import LiveAttempt
from activities.simpler import WrittenAnswer, is_simpler, level_of
from activities.steps import StepFrame
from activities.tickets import sort_calls
from activities.weakness import Look, look_at
from domain.anew import asked_again
from domain.chat import (
    ChatChunk,
    ChatMessage,
    ChatRequest,
    HiddenDelta,
    StreamEnd,
    TextDelta,
    ToolCallRequest,
    split_model,
)
from domain.errors import (
    InternalError,
    ModelError,
    ModelNotConfiguredError,
    ModelTimeoutError,
    OrchestratorError,
    StepRefusedError,
    StoreUnavailableError,
)
from domain.event import EventDraft, EventType
from domain.order import ChatOrder, ChatReply
from domain.ports import ChatModel, Clock, Ids, ModelCatalog, PriceList
from domain.step import (
    TOLD_MS,
    AlreadyClosed,
    Attempt,
    AwaitingBudget,
    CallBill,
    CallPlan,
    Closing,
    NewMessage,
    Opened,
    Withheld,
    step_place,
)


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How patient a model call is. Times in seconds.

    Providers themselves watch for meaningful events; `total_seconds` is the backstop over all.
    `failures` is how many failures of the provider end the step. `longest_wait` is how long a
    Retry-After is honoured while another model stands behind this one.
    """

    total_seconds: float = 290.0
    failures: int = 3
    longest_wait: float = 2.0
    max_output_tokens: int = 4096


@dataclass(slots=True)
class _Call:
    """A call in progress: what is needed to bill it and to close it."""

    order: ChatOrder
    plan: CallPlan
    opened: Opened
    attempt: Attempt
    started_ms: int
    streamed: list[str] = field(default_factory=list)
    is_sent: bool = False
    """Whether the provider may have seen the request."""


class ChatActivities:
    """Model calls.

    Args:
        frame: what all steps share.
        models: the way to providers.
        prices: what calls cost.
    """

    def __init__(
        self,
        frame: StepFrame,
        models: ModelCatalog,
        prices: PriceList,
        clock: Clock,
        ids: Ids,
        settings: ChatSettings | None = None,
    ) -> None:
        self._frame = frame
        self._models = models
        self._prices = prices
        self._clock = clock
        self._ids = ids
        self._settings = settings or ChatSettings()

    @activity.defn(name="complete_chat")
    async def complete_chat(self, order: ChatOrder) -> ChatReply:
        """Call one model, stream its text into the log, and commit the reply."""
        return await self._frame.carry(
            order.run_id, order.step_id, lambda live: self._complete(live, order)
        )

    async def _complete(self, live: LiveAttempt, order: ChatOrder) -> ChatReply:
        plan = bills.plan_call(self._prices, order, self._settings.max_output_tokens)
        opening = await self._frame.open(order.run_id, order.step_id, plan)
        if isinstance(opening, AlreadyClosed):
            return ChatReply.model_validate(opening.result)
        if isinstance(opening, AwaitingBudget | Withheld):
            return explain(opening, self._settings.longest_wait, has_next=order.has_next)
        if not isinstance(opening, Opened):
            raise TypeError("a model call has no unknown outcome")
        attempt = Attempt(order.run_id, order.step_id, opening.attempt)
        call = _Call(order, plan, opening, attempt, self._clock.now_ms())
        try:
            return await self._talk(live, call)
        except (StepRefusedError, StoreUnavailableError):
            raise
        except Exception as error:  # whatever it is, the step's row has to count it
            named = failures.ours(error, order.run_id, order.step_id)
            raise await self._failed(live, call, named) from error
        except asyncio.CancelledError:
            await self._frame.let_go(live, attempt)
            raise

    async def _talk(self, live: LiveAttempt, call: _Call) -> ChatReply:
        request = await self._request(call)
        writer = DeltaWriter(self._frame.book, call.attempt)
        try:
            end = await self._stream(live, call, request, writer)
        except BaseException:
            # The rows in flight belong to this attempt: nothing may be written after its end.
            await asyncio.shield(writer.abandon())
            raise
        return await self._close(call, end, writer)

    async def _request(self, call: _Call) -> ChatRequest:
        opened = call.opened
        messages = opened.messages
        if messages is None:
            messages = await self._frame.book.read_transcript(opened.owner, opened.session_id or "")
        spec = opened.spec
        if spec.instructions:
            messages = (ChatMessage(role="system", content=spec.instructions), *messages)
        if opened.rejected is not None:
            messages = (*messages, *asked_again(*opened.rejected))
        tools = () if call.order.degraded else spec.tools
        return ChatRequest(
            model=_name_of(call.order.model),
            messages=messages,
            tools=tuple(tool.definition() for tool in tools),
            max_output_tokens=opened.bound.output_tokens,
        )

    async def _stream(
        self, live: LiveAttempt, call: _Call, request: ChatRequest, writer: DeltaWriter
    ) -> StreamEnd:
        """Read the stream to its end, and not for ever."""
        end: StreamEnd | None = None
        model = self._model(call)
        call.is_sent = True
        stream = cast("AsyncGenerator[ChatChunk]", model.stream(request))
        try:
            async with asyncio.timeout(self._settings.total_seconds), aclosing(stream) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, TextDelta):
                        call.streamed.append(chunk.text)
                        live.progress += len(chunk.text)
                        writer.feed(chunk.text)
                        if len(call.streamed) == 1:
                            # What is read meanwhile would keep the first words from the viewer.
                            await writer.settled()
                    elif isinstance(chunk, HiddenDelta):
                        live.unseen += chunk.size
                    else:
                        end = chunk
        except TimeoutError as error:
            raise ModelTimeoutError(
                f"{call.order.model} did not end its reply in time (step {call.order.step_id} of"
                f" run {call.order.run_id})"
            ) from error
        if end is None:
            raise ModelTimeoutError(f"{call.order.model} ended its stream without an end")
        return end

    def _model(self, call: _Call) -> ChatModel:
        if is_simpler(call.order.model):
            return WrittenAnswer(call.order.model, call.opened)
        return self._models.resolve(call.order.model)

    async def _close(self, call: _Call, end: StreamEnd, writer: DeltaWriter) -> ChatReply:
        text = "".join(call.streamed)
        most = bills.most_output(text, end) if end.usage is None else None
        bill = self._meter(call).bill(end.usage, self._latency(call), end.stop_reason, most)
        look = look_at(call.order, call.opened.spec, text, end)
        if look.weak is not None:
            return await self._close_weak(call, text, bill, look, writer)
        rest = await writer.rest()
        turn = int(call.order.step_id.split("-")[1])
        sorted_calls = sort_calls(end.tool_calls, call.opened.spec.tools, turn, self._ids)
        tickets, created, refused = sorted_calls
        reply = ChatReply(
            calls=tuple(tickets),
            refused=len(refused),
            usage=bills.add(call.opened.usage, bill),
            cut_by=_cut_by(call, end),
        )
        called = tuple(
            ToolCallRequest(call_id=c.tool_call_id, name=c.name, arguments=c.args)
            for c in sorted(
                (*created, *(c for c, _ in refused)), key=lambda c: step_place(c.step_id)
            )
        )
        message = NewMessage(
            message_id=self._ids.new("msg"),
            role="assistant",
            content=text,
            tool_calls=called,
            tokens=bill.usage.output_tokens,
        )
        is_final = not called and reply.cut_by is None
        closing = Closing(
            result=reply.model_dump(mode="json") | look.on_record(),
            events=(*look.events, *(self._final_events(call) if is_final else ())),
            messages=(message,),
            tool_calls=tuple(created),
            refused=tuple(refused),
            last_delta=rest,
            delta_index=writer.rows + 1,
            bill=bill,
            is_turn=True,
            final_text=text if is_final else None,
            degraded=_level(call),
        )
        await self._frame.book.close(call.attempt, closing)
        return reply

    async def _close_weak(
        self, call: _Call, text: str, bill: CallBill, look: Look, writer: DeltaWriter
    ) -> ChatReply:
        """Put an answer aside that a higher tier is to better; it is on the bill all the same."""
        await writer.abandon()
        reply = ChatReply(usage=bills.add(call.opened.usage, bill, turns=0), weak=look.weak)
        closing = Closing(
            result={**reply.model_dump(mode="json"), "answer": text, **look.on_record()},
            events=look.events,
            bill=replace(bill, error={"code": "weak_answer", "message": look.weak or ""}),
        )
        await self._frame.book.close(call.attempt, closing)
        return reply

    def _final_events(self, call: _Call) -> tuple[EventDraft, ...]:
        data: dict[str, Any] = {"agent_id": call.opened.agent_id, "step": call.order.step_id}
        if _level(call) is not None:
            data["degraded"] = _level(call)
        # A run that is steered after its answer answers again.
        key = f"invoke_done:{call.order.step_id}"
        return (EventDraft(type=EventType.AGENT_INVOKE_DONE, key=key, data=data),)

    def _meter(self, call: _Call) -> Meter:
        return Meter(self._prices, call.order.model, call.opened)

    def _latency(self, call: _Call) -> int:
        return max(0, self._clock.now_ms() - call.started_ms)

    async def _failed(self, live: LiveAttempt, call: _Call, error: OrchestratorError) -> Exception:
        """Count the failure and say whether Temporal may try this model again."""
        bill = self._meter(call).failed(
            self._latency(call),
            error,
            is_sent=call.is_sent,
            streamed=bills.size_of(call.streamed) + live.unseen,
        )
        count = await self._frame.book.fail(call.attempt, bill)
        if not isinstance(error, ModelError | InternalError):
            return failures.final(error)
        told = error.retry_after
        too_long = told is not None and told.total_seconds() > self._settings.longest_wait
        if count >= self._settings.failures or (too_long and call.order.has_next):
            return failures.final(error)
        if told is not None and told.total_seconds() * 1000 > TOLD_MS:
            # The next attempt finds the model closed, and has the run say what it waits for.
            return failures.again(error, timedelta())
        return failures.again(error, told or failures.backoff(count, call.order.retry_seconds))


def _name_of(model: str) -> str:
    """Return a model's name at its provider."""
    try:
        return split_model(model)[1]
    except ValueError as error:
        raise ModelNotConfiguredError(str(error)) from error


def _cut_by(call: _Call, end: StreamEnd) -> str | None:
    """Return the cap that cut an answer short; a tool call that arrived whole counts."""
    is_cut = end.stop_reason == "length" and not end.tool_calls
    return call.opened.cut_by if is_cut else None


def _level(call: _Call) -> str | None:
    return level_of(call.order.model, is_behind=call.order.degraded)
