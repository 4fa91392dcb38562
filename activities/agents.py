"""`invoke_agent`: one call to an external agent as a step.

Side effect: one POST to the agent. Idempotency: run id and step id; a closed step returns its
stored reply. Heartbeat: every second. An agent that is not reachable is tried again; one that
reports an error is not, and none is asked while its circuit is open.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast

from temporalio import activity

from activities import bills, failures
from activities.bills import Meter
from activities.deltas import DeltaWriter
from activities.held import explain
from activities.live import LiveAttempt
from activities.steps import StepFrame
from domain.agent import (
    AgentChunk,
    AgentDelta,
    AgentDone,
    AgentInvocation,
    AgentState,
    agent_model,
)
from domain.agenthealth import CallBook, Callee, is_its_fault
from domain.bounds import NOTHING_BOUND
from domain.chat import ChatMessage, TokenUsage
from domain.errors import (
    AgentUnavailableError,
    CircuitOpenError,
    LimitReachedError,
    OrchestratorError,
    PermanentError,
    StepRefusedError,
    StoreUnavailableError,
)
from domain.event import EventDraft, EventType
from domain.order import ChatReply, InvokeOrder
from domain.ports import AgentInvoker, Clock, Ids, PriceList
from domain.session import estimate_tokens
from domain.step import (
    AlreadyClosed,
    Attempt,
    AwaitingBudget,
    CallBill,
    Closing,
    NewMessage,
    Opened,
    Withheld,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How patient a call to an external agent is. Times in seconds."""

    idle_seconds: float = 120.0
    total_seconds: float = 300.0
    failures: int = 3
    max_output_tokens: int = 4096
    """What an answer is taken to hold at most, where it is priced by tokens."""


@dataclass(slots=True)
class _Call:
    """A call in progress and what the agent has said so far."""

    opened: Opened
    attempt: Attempt
    started_ms: int
    is_sent: bool = False
    states: int = 0
    pieces: list[str] = field(default_factory=list)

    @property
    def callee(self) -> Callee:
        """Return who is called."""
        opened = self.opened
        return Callee(opened.owner, opened.agent_id or "", opened.spec.endpoint or "")

    @property
    def is_priced(self) -> bool:
        """Whether it is known what the agent's tokens cost, so that money is held for them."""
        bound = self.opened.bound
        return bound.pico is not None and bound != NOTHING_BOUND


@dataclass(frozen=True, slots=True)
class AgentPorts:
    """What calls of external agents are made, judged and billed with."""

    invoker: AgentInvoker
    calls: CallBook
    prices: PriceList
    clock: Clock
    ids: Ids


class AgentActivities:
    """Calls to external agents."""

    def __init__(
        self, frame: StepFrame, ports: AgentPorts, settings: AgentSettings | None = None
    ) -> None:
        self._frame = frame
        self._ports = ports
        self._settings = settings or AgentSettings()

    @activity.defn(name="invoke_agent")
    async def invoke_agent(self, order: InvokeOrder) -> ChatReply:
        """Call the agent, stream its text into the log, and commit its answer."""
        return await self._frame.carry(
            order.run_id, order.step_id, lambda live: self._invoke(live, order)
        )

    async def _invoke(self, live: LiveAttempt, order: InvokeOrder) -> ChatReply:
        plan = bills.plan_model(
            self._ports.prices, agent_model(order.agent_id), self._settings.max_output_tokens
        )
        opening = await self._frame.open(order.run_id, order.step_id, plan)
        if isinstance(opening, AlreadyClosed):
            return ChatReply.model_validate(opening.result)
        if isinstance(opening, AwaitingBudget | Withheld):
            return explain(opening, 0, has_next=False)
        if not isinstance(opening, Opened):
            raise TypeError("an agent's call has no unknown outcome")
        attempt = Attempt(order.run_id, order.step_id, opening.attempt)
        call = _Call(opening, attempt, self._ports.clock.now_ms())
        try:
            await self._ports.calls.admit(call.callee)
            return await self._judged(live, call)
        except (StepRefusedError, StoreUnavailableError):
            raise
        except Exception as error:  # whatever it is, the step's row has to count it
            named = failures.ours(error, order.run_id, order.step_id)
            raise await self._failed(order, call, named) from error
        except asyncio.CancelledError:
            await self._frame.let_go(live, attempt)
            raise

    async def _judged(self, live: LiveAttempt, call: _Call) -> ChatReply:
        """Make the call, and have what became of it count for or against the agent."""
        try:
            reply = await self._talk(live, call)
        except BaseException as error:
            await asyncio.shield(self._count(call.callee, error))
            raise
        await self._count(call.callee, None)
        return reply

    async def _count(self, callee: Callee, error: BaseException | None) -> None:
        """Put on record how a call went; that it cannot be is no reason for the step to fail."""
        try:
            if error is None:
                await self._ports.calls.answered(callee)
            elif is_its_fault(error):
                await self._ports.calls.failed(callee, str(error))
            else:
                await self._ports.calls.released(callee)
        except StoreUnavailableError as lost:
            _log.warning("a call of agent %s does not count: %s", callee.agent_id, lost)

    async def _talk(self, live: LiveAttempt, call: _Call) -> ChatReply:
        writer = DeltaWriter(self._frame.book, call.attempt)
        try:
            done = await self._stream(live, call, writer)
        except BaseException:
            await asyncio.shield(writer.abandon())
            raise
        rest = await writer.rest()
        closing, reply = self._closing(call, done, rest, writer.rows + 1)
        await self._frame.book.close(call.attempt, closing)
        return reply

    def _closing(
        self, call: _Call, done: AgentDone, rest: str, next_row: int
    ) -> tuple[Closing, ChatReply]:
        opened, streamed = call.opened, "".join(call.pieces)
        text = done.final_message if done.final_message is not None else streamed
        # What viewers add up has to be the final text, also when the agent changed its mind.
        replaces = text != streamed
        bill = self._bill(call, done, bills.size_of([text]))
        reply = ChatReply(usage=bills.add(opened.usage, bill))
        step_id = call.attempt.step_id
        data: dict[str, Any] = {"agent_id": opened.agent_id, "step": step_id, "usage": done.usage}
        key = f"invoke_done:{step_id}"
        answered = EventDraft(type=EventType.AGENT_INVOKE_DONE, key=key, data=data)
        message = NewMessage(
            message_id=self._ports.ids.new("msg"),
            role="assistant",
            content=text,
            tokens=done.usage.get("completion_tokens", estimate_tokens(text)),
        )
        closing = Closing(
            result=reply.model_dump(mode="json"),
            events=(answered,),
            messages=(message,),
            last_delta=text if replaces else rest,
            replaces_stream=replaces and bool(streamed),
            delta_index=next_row,
            bill=bill,
            is_turn=True,
            final_text=text,
        )
        return closing, reply

    async def _invocation(self, call: _Call) -> AgentInvocation:
        opened = call.opened
        session_id = opened.session_id or ""
        history = await self._frame.book.read_transcript(opened.owner, session_id)
        return AgentInvocation(
            endpoint=opened.spec.endpoint or "",
            agent_id=opened.agent_id or "",
            session_id=session_id,
            run_id=call.attempt.run_id,
            input_message=ChatMessage(role="user", content=opened.content),
            messages=history,
            context=opened.spec.context,
        )

    async def _stream(self, live: LiveAttempt, call: _Call, writer: DeltaWriter) -> AgentDone:
        invocation = await self._invocation(call)
        call.is_sent = True
        stream = patiently(
            self._ports.invoker.stream(invocation), self._settings, invocation.agent_id
        )
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, AgentDone):
                    return chunk
                if isinstance(chunk, AgentDelta):
                    call.pieces.append(chunk.text)
                    live.progress += len(chunk.text)
                    _check_tokens(call.opened.spec.limits.max_tokens, live.progress)
                    writer.feed(chunk.text)
                else:
                    await self._note(call, chunk)
        raise AgentUnavailableError(f"agent {invocation.agent_id} ended without `done`")

    async def _note(self, call: _Call, state: AgentState) -> None:
        attempt = call.attempt
        call.states += 1
        data = {"state": state.state, "detail": state.detail, "step": attempt.step_id}
        key = f"{attempt.step_id}:{attempt.number}:state:{call.states}"
        draft = EventDraft(type=EventType.AGENT_STATE, key=key, data=data)
        await self._frame.book.append_events(attempt, [draft])

    async def _failed(self, order: InvokeOrder, call: _Call, error: OrchestratorError) -> Exception:
        count = await self._frame.book.fail(call.attempt, self._failed_bill(call, error))
        is_final = isinstance(error, PermanentError)
        if is_final or isinstance(error, CircuitOpenError) or count >= self._settings.failures:
            return failures.named(error) if is_final else failures.final(error)
        wait = error.retry_after or failures.backoff(count, order.retry_seconds)
        return failures.again(error, wait)

    def _meter(self, call: _Call) -> Meter:
        return Meter(self._ports.prices, agent_model(call.opened.agent_id or ""), call.opened)

    def _bill(self, call: _Call, done: AgentDone, seen: int) -> CallBill:
        """Return what the agent says it used; of a priced one that says nothing, what was held."""
        usage = _usage(done)
        is_free = call.is_priced and not call.opened.bound.pico
        if usage is None and (is_free or not call.is_priced):
            usage = TokenUsage()
        return self._meter(call).bill(usage, self._latency(call), None, seen=seen)

    def _failed_bill(self, call: _Call, error: OrchestratorError) -> CallBill | None:
        """Return the bill of a call that failed; None where nothing was held and nothing came."""
        streamed = bills.size_of(call.pieces)
        if not call.is_priced and not streamed:
            return None
        bill = self._meter(call).failed(
            self._latency(call), error, is_sent=call.is_sent, streamed=streamed
        )
        # Nobody knows what a stranger's work costs: that is not nothing.
        return bill if call.is_priced else replace(bill, cost_pico=None)

    def _latency(self, call: _Call) -> int:
        return max(0, self._ports.clock.now_ms() - call.started_ms)


async def patiently(
    stream: AsyncIterator[AgentChunk], settings: AgentSettings, agent_id: str
) -> AsyncGenerator[AgentChunk]:
    """Yield what an agent says, for as long as it says something and is done in time.

    Only what it says by the protocol counts, so comments keep nobody waiting; the time that we take
    to write it down counts for the whole, not as its silence.

    Raises:
        AgentUnavailableError: names the deadline that is over.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + settings.total_seconds
    async with aclosing(cast("AsyncGenerator[AgentChunk]", stream)) as chunks:
        while True:
            idle_end = loop.time() + settings.idle_seconds
            try:
                async with asyncio.timeout_at(min(idle_end, end)):
                    chunk = await anext(chunks, None)
            except TimeoutError as error:
                said = (
                    f"sent nothing new for {settings.idle_seconds:g} s"
                    if idle_end <= end
                    else f"was not done within {settings.total_seconds:g} s"
                )
                raise AgentUnavailableError(f"agent {agent_id} {said}") from error
            if chunk is None:
                return
            yield chunk


def _check_tokens(most: int | None, streamed_chars: int) -> None:
    """Stop an answer that has certainly gone past the run's cap: its own count comes too late."""
    if most is not None and streamed_chars // 4 > most:
        raise LimitReachedError(
            f"the run reached its cap max_tokens of {most}", reason="max_tokens"
        )


def _usage(done: AgentDone) -> TokenUsage | None:
    """Return the tokens that an agent says it used, None when it says nothing of them."""
    used = done.usage
    total = used.get("total_tokens", used.get("tokens", 0))
    said = TokenUsage(
        input_tokens=used.get("prompt_tokens", 0),
        output_tokens=used.get("completion_tokens", max(0, total - used.get("prompt_tokens", 0))),
    )
    return said if said.input_tokens + said.output_tokens else None
