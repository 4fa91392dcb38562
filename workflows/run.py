"""RunWorkflow: what happens in a run, in which order.

States: the store's CREATED and RUNNING, then DONE, FAILED or CANCELLED. Messages: the signal `wake`
says that the store has something new for a run that waits; the signal `decide` and the update
`decide_approval` bring an answer of somebody unknown to the store. Continue-as-new keeps
`Progress`. It ends with the state on record, which the one `finalize` returns.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    FailureError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from domain.agent import AgentKind
    from domain.deadletter import DEAD_LETTER_CODES
    from domain.errors import InvalidRequestError, LimitReachedError
    from domain.order import (
        CallTicket,
        ChatOrder,
        ChatReply,
        DecisionOrder,
        DecisionReply,
        FinishOrder,
        InvokeOrder,
        RunOrder,
        RunResult,
        ToolCallOrder,
        ToolReply,
        decision_of,
    )
    from domain.run import RunKind, RunState, check_caps
    from domain.step import invoke_step, tool_step
    from workflows import policies, store
    from workflows.chain import ask_chain
    from workflows.children import start_child
    from workflows.clock import check_time, now_ms, seconds_left
    from workflows.delay import Waiting, wait_for_session, wait_for_start
    from workflows.display import show_details, show_waiting
    from workflows.news import News, forget_failure
    from workflows.outcomes import (
        RunFailedError,
        RunStoppedError,
        answer_all,
        failure_of,
        forget_cut_activities,
        heed_cancel,
    )
    from workflows.repairs import count_repairs
    from workflows.waits import PARKED, Waits

StepOrder = ChatOrder | InvokeOrder | ToolCallOrder
Reply = TypeVar("Reply", ChatReply, ToolReply)


@workflow.defn(
    name="RunWorkflow",
    failure_exception_types=[ValueError, TypeError, LookupError, AttributeError],
)
class RunWorkflow:
    """One run, from its first step to its last."""

    @workflow.init
    def __init__(self, order: RunOrder) -> None:
        self._order = order
        self._progress = order.progress
        self._wakes = 0
        self._waits = Waits()
        self._deciding = asyncio.Lock()
        self._news: News | None = None
        self._tools = {tool.name: tool for tool in order.tools}

    @workflow.run
    async def run(self, order: RunOrder) -> RunResult:  # noqa: ARG002 - kept by __init__
        """Do the work, then end with the state that the store has on record."""
        forget_cut_activities()
        if self._progress.started_at_ms is None and self._order.start_at_ms is None:
            self._note(started_at_ms=now_ms())
        while True:
            result = await self._end(await self._work_to_an_end())
            if result.state != RunState.RUNNING:
                return result
            self._show("going on: a message came in")
            await self._continue_as_new_if_long()

    async def _work_to_an_end(self) -> FinishOrder:
        """Do the work and return the terminal move that it comes to."""
        try:
            await self._work()
        except RunStoppedError:
            return self._finish(RunState.CANCELLED)
        except RunFailedError as error:
            return self._finish(
                RunState.FAILED,
                code=error.code,
                message=error.message,
                dead_letter_step=error.step if error.code in DEAD_LETTER_CODES else None,
            )
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            return self._finish(RunState.CANCELLED)
        return self._finish(RunState.DONE)

    @workflow.signal(name="wake", description="look at the store again")
    def wake(self) -> None:
        """Note that the store has something new; what it is stands in the store."""
        self._wakes += 1

    @workflow.signal(
        name="decide",
        description="decide an approval by hand; the store judges it as any other answer",
        unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON,
    )
    async def decide(self, order: DecisionOrder | None = None) -> None:
        """Take an answer that was sent to the workflow. Nobody knows who sent it."""
        if order is not None:  # a signal without any data must not fail the run
            await self._put_decision(order)

    @workflow.update(
        name="decide_approval",
        description="as the signal `decide`, for a caller that waits for what becomes of it",
        unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON,
    )
    async def decide_approval(self, order: object = None) -> DecisionReply:
        """Take an answer and return what became of it; what is none is refused in words."""
        try:
            decision = decision_of(order)
        except InvalidRequestError as error:
            return DecisionReply(accepted=False, said=f"{error.code}: {error.message}")
        return await self._put_decision(decision)

    async def _put_decision(self, order: DecisionOrder) -> DecisionReply:
        seconds = self._order.timing.finalize_seconds
        async with self._deciding:  # the first that came is the first to be judged
            reply = await store.put_decision(self._order.run_id, order, seconds)
        self._wakes += reply.accepted
        return reply

    async def _work(self) -> None:
        queued = self._order.queued
        if self._order.start_at_ms is not None and self._progress.started_at_ms is None:
            queued = await wait_for_start(*self._waiting)
            self._note(started_at_ms=now_ms())
        if queued and self._progress.turn == 0:
            await wait_for_session(*self._waiting)
        if self._order.kind is RunKind.TOOL:
            tool = self._order.tools[0].name
            await self._call_tool(CallTicket(step_id=tool_step(1, 0), tool=tool))
            return
        while not await self._take_turn():
            await self._continue_as_new_if_long()

    async def _continue_as_new_if_long(self) -> None:
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(
                self._order.model_copy(update={"progress": self._progress, "queued": False})
            )

    async def _take_turn(self) -> bool:
        """Do one turn and return whether the run is done."""
        if workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError
        check_time(self._order, self._progress.started_at_ms)
        self._check_caps()
        self._note(turn=self._progress.turn + 1)
        self._show(f"turn {self._progress.turn}")
        if self._order.agent_kind is AgentKind.HTTP:
            return not await self._invoke_agent()
        left = seconds_left(self._order, self._progress.started_at_ms)
        reply = await ask_chain(self._order, self._progress.turn, left, self._complete_chat)
        self._note(usage=reply.usage)
        if reply.cut_by is not None:
            said = f"the answer was cut short by the cap {reply.cut_by}"
            raise RunFailedError(reply.cut_by, said)
        if not reply.calls and not reply.refused:
            return not reply.goes_on
        self._count_calls(reply)
        has_run = await self._call_tools(reply.calls)
        self._note(repairs=count_repairs(self._progress.repairs, reply.calls, has_run=has_run))
        return False

    def _check_caps(self) -> None:
        started = self._progress.started_at_ms or now_ms()
        elapsed = (now_ms() - started) / 1000
        usage = self._progress.usage.model_copy(update={"turns": self._progress.turn})
        try:
            check_caps(self._order.limits, usage, elapsed)
        except LimitReachedError as error:
            raise RunFailedError(error.reason, error.message) from error

    def _count_calls(self, reply: ChatReply) -> None:
        total = self._progress.tool_calls + len(reply.calls) + reply.refused
        self._note(tool_calls=total)
        cap = self._order.limits.max_tool_calls
        if cap is not None and total > cap:
            raise RunFailedError("max_tool_calls", f"the run reached its cap of {cap} tool calls")

    async def _complete_chat(self, chat: ChatOrder) -> ChatReply:
        label = f"llm {chat.model} turn {self._progress.turn}"
        return await self._call("complete_chat", chat, label)

    async def _call(self, name: str, order: ChatOrder | InvokeOrder, label: str) -> ChatReply:
        """Ask a model or an agent; while a person has to raise a budget first, look again."""
        while True:
            seen = self._wakes
            seconds = self._order.timing.attempt_seconds
            reply = await self._step(name, order, ChatReply, label, seconds)
            if reply.waits_for is None:
                return reply
            why = f"{'raise budget ' if reply.waits_on == 'budget' else ''}{reply.waits_for}"
            await self._park(reply.waits_on, why, seen, reply.expires_in_seconds)

    async def _invoke_agent(self) -> bool:
        """Ask the external agent; return whether more was said after its answer, in a fork."""
        step_id = invoke_step(self._progress.turn)
        order = InvokeOrder(
            run_id=self._order.run_id,
            step_id=step_id,
            agent_id=self._order.agent_id or "",
            retry_seconds=self._order.timing.retry_seconds,
        )
        reply = await self._call("invoke_agent", order, f"agent {self._order.agent_id}")
        self._note(usage=reply.usage)
        return reply.goes_on

    async def _call_tools(self, calls: Sequence[CallTicket]) -> bool:
        """Run the calls of one reply side by side, and say whether any could be.

        The first failure of the run stops the rest.
        """
        if len(calls) > 1:
            self._news = News(self._order, lambda: self._wakes)
        news = [asyncio.create_task(self._news.listen())] if self._news else []
        tasks = [asyncio.create_task(self._call_tool(call)) for call in calls]
        try:
            return any(await asyncio.gather(*tasks))
        except (FailureError, RunStoppedError, asyncio.CancelledError):
            # Not BaseException: a coroutine that is being thrown away must not wait once more.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        finally:
            self._news = None
            for listener in news:
                # Cut in its question it ends with a failure that nobody is to hear of.
                listener.add_done_callback(forget_failure)
                listener.cancel()

    async def _call_tool(self, call: CallTicket) -> bool:
        """Run one call; while anybody else has to say something first, wait and look again.

        Returns whether its arguments were such that it could be begun.
        """
        tool = self._tools[call.tool]
        order = ToolCallOrder(
            run_id=self._order.run_id,
            step_id=call.step_id,
            timeout_seconds=tool.timeout_seconds,
            retry_seconds=self._order.timing.retry_seconds,
        )
        while True:
            seen = self._wakes
            reply = await self._step(
                f"tool:{call.tool}",
                order,
                ToolReply,
                f"tool {call.tool}",
                tool.timeout_seconds + policies.SERVER_GRACE.total_seconds(),
            )
            if reply.child is not None:
                await start_child(reply.child, self._order.timing)
            if reply.status not in PARKED:
                return not reply.invalid
            await self._wait_for_answer(seen, call.step_id, reply)

    async def _wait_for_answer(self, seen: int, step_id: str, reply: ToolReply) -> None:
        what, to_do = PARKED[reply.status]
        why = f"{to_do} tool call {reply.tool_call_id}"
        await self._park(what, why, seen, reply.expires_in_seconds, step_id)

    async def _park(
        self, what: str, why: str, seen: int, at_most: float | None, step_id: str | None = None
    ) -> None:
        """Wait until somebody said something, or the time for it is over: the store says which."""
        if self._waits.begin(what):
            self._wait_on(self._waits.shown, why)
        try:
            await self._wait_for_wake(seen, at_most, what, step_id)
        finally:
            has_changed = self._waits.end(what)
        if has_changed:
            self._wait_on(self._waits.shown, "a tool call")

    async def _step(
        self, activity: str, order: StepOrder, reply: type[Reply], summary: str, seconds: float
    ) -> Reply:
        """Run one step as an activity whose id is the step's, and name its failure."""
        timing = self._order.timing
        left = seconds_left(self._order, self._progress.started_at_ms)
        try:
            answer: Reply = await workflow.execute_activity(
                activity,
                order,
                result_type=reply,
                activity_id=order.step_id,
                start_to_close_timeout=timedelta(seconds=min(seconds, left or seconds)),
                # Only a run with a deadline has one: an attempt may else outlive a laptop's sleep.
                schedule_to_close_timeout=timedelta(seconds=left) if left else None,
                heartbeat_timeout=timedelta(seconds=timing.heartbeat_seconds),
                retry_policy=policies.step_retry(timing),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=summary,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            check_time(self._order, self._progress.started_at_ms)
            raise failure_of(error, order.step_id) from error
        return answer

    @property
    def _waiting(self) -> Waiting:
        return self._order, lambda: self._wakes, self._wait_for_wake, self._wait_on

    async def _wait_for_wake(
        self,
        seen: int,
        at_most: float | None = None,
        what: str = "approval",
        step_id: str | None = None,
    ) -> None:
        """Wait for a `wake` after the `seen`-th, of that step, but not past the run's deadline."""
        heed_cancel()
        left = seconds_left(self._order, self._progress.started_at_ms)
        expires = at_most is not None and (left is None or at_most < left)
        try:
            await workflow.wait_condition(
                lambda: self._is_woken(seen, step_id),
                timeout=at_most if expires else left,
                timeout_summary=f"the {what} expires" if expires else "the run's deadline",
            )
        except TimeoutError:
            check_time(self._order, self._progress.started_at_ms)

    def _is_woken(self, seen: int, step_id: str | None) -> bool:
        if self._news is None or step_id is None:
            return self._wakes > seen
        return self._news.is_about(step_id, seen)

    async def _end(self, finish: FinishOrder) -> RunResult:
        """Have the store make the terminal move, and end as it says."""
        self._show(f"ending as {finish.state}")
        result = await store.finalize(finish, self._order.timing.finalize_seconds)
        self._show(f"{result.state} {result.message}")
        if result.state != RunState.RUNNING:
            await answer_all()
        if result.state == RunState.FAILED:
            raise RunFailedError(result.code or "internal_error", result.message)
        if result.state == RunState.CANCELLED:
            # The engine closes a workflow as cancelled only if it was asked to; it will be.
            await workflow.wait_condition(lambda: workflow.cancellation_reason() is not None)
            raise asyncio.CancelledError
        return result

    def _finish(self, state: RunState, **why: str | None) -> FinishOrder:
        return FinishOrder.model_validate(
            {
                "run_id": self._order.run_id,
                "state": state.value,
                "engine_asked": workflow.cancellation_reason() is not None,
                "turn": self._progress.turn,
                **why,
            }
        )

    def _note(self, **changes: object) -> None:
        self._progress = self._progress.model_copy(update=changes)

    def _wait_on(self, what: str | None, why: str) -> None:
        """Show in the search attributes and the UI that the run waits, or no longer does."""
        show_waiting(what)
        self._show(f"waiting on {what}: {why}" if what else "going on")

    def _show(self, now: str) -> None:
        """Tell the Temporal UI where the run stands; costs no history."""
        show_details(self._order, self._progress, now)
