"""Tool calls as steps: a dynamic activity, so that every tool has its own name in the history.

Side effect: the tool's. Idempotency: the key in the call's row, `{run_id}:{tool_call_id}` of the
run that asked for it first; a closed step returns its stored end. Where the policy wants a person
asked first, or a client runs the tool, nothing is run here, and the reply says how long that may
take. An unsafe tool that was opened and not closed, cut, or that failed in an unknown way is never
run again: a person resolves it.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from activities import failures
from activities.children import closed_reply, waits_for_others
from activities.live import LiveAttempt
from activities.steps import StepFrame
from domain.errors import OrchestratorError, StepRefusedError, StoreUnavailableError, TransientError
from domain.order import ToolCallOrder, ToolReply
from domain.ports import Toolbox
from domain.step import (
    AlreadyClosed,
    Attempt,
    AwaitingApproval,
    AwaitingClient,
    Opened,
    OutcomeUnknown,
)
from domain.tool import (
    INVALID_ARGUMENTS,
    Effect,
    ToolCallStatus,
    ToolInvocation,
    ToolOutcome,
    ToolSpec,
)

PREFIX = "tool:"
NOT_JSON = ToolOutcome(
    ok=False,
    content="invalid arguments, nothing was done: the arguments are not a JSON object",
    error_code=INVALID_ARGUMENTS,
)


@dataclass(frozen=True, slots=True)
class _Call:
    """One execution: what was ordered, of which tool, as which attempt."""

    order: ToolCallOrder
    spec: ToolSpec
    opened: Opened
    attempt: Attempt


class ToolActivities:
    """Executions of tools."""

    def __init__(self, frame: StepFrame, toolbox: Toolbox) -> None:
        self._frame = frame
        self._toolbox = toolbox

    @activity.defn(dynamic=True)
    async def run_tool(self, args: Sequence[RawValue]) -> ToolReply:
        """Run the tool that the activity's type names, once."""
        kind = activity.info().activity_type
        if not kind.startswith(PREFIX):
            raise failures.final(StepRefusedError(f"no activity {kind!r}", reason="unknown"))
        order = activity.payload_converter().from_payload(args[0].payload, ToolCallOrder)
        spec = self._spec(kind.removeprefix(PREFIX))
        return await self._frame.carry(
            order.run_id,
            order.step_id,
            lambda live: self._counted(live, order, spec),
            drains=spec is None or spec.effect is not Effect.UNSAFE,
        )

    def _spec(self, name: str) -> ToolSpec | None:
        return next((spec for spec in self._toolbox.specs() if spec.name == name), None)

    async def _counted(
        self, live: LiveAttempt, order: ToolCallOrder, spec: ToolSpec | None
    ) -> ToolReply:
        reply = await self._call(live, order, spec)
        live.is_error = reply.status != ToolCallStatus.SUCCEEDED
        return reply

    async def _call(
        self, live: LiveAttempt, order: ToolCallOrder, spec: ToolSpec | None
    ) -> ToolReply:
        opening = await self._frame.open(order.run_id, order.step_id)
        if isinstance(opening, AlreadyClosed):
            return closed_reply(opening)
        if isinstance(opening, OutcomeUnknown):
            return ToolReply(status="outcome_unknown", tool_call_id=opening.tool_call_id)
        if isinstance(opening, AwaitingApproval | AwaitingClient):
            return waits_for_others(opening)
        if not isinstance(opening, Opened):
            raise TypeError("only spawn_run waits for a run, and only models for money")
        attempt = Attempt(order.run_id, order.step_id, opening.attempt)
        if spec is None:
            said = ToolOutcome(
                ok=False, content="this worker has no such tool", error_code="unknown_tool"
            )
            return await self._close(attempt, ToolCallStatus.FAILED, said)
        call = _Call(order, spec, opening, attempt)
        try:
            return await self._execute(live, call)
        except (OrchestratorError, ApplicationError):
            raise
        except Exception as error:  # counted, or left to a person, whatever it is
            raise await self._failed(call, error) from error

    async def _execute(self, live: LiveAttempt, call: _Call) -> ToolReply:
        spec = call.spec
        args = _parsed(call.opened.args)
        if args is None:
            return await self._close(call.attempt, ToolCallStatus.FAILED, NOT_JSON)
        try:
            outcome = await self._toolbox.run(_invocation(call, args))
        except asyncio.CancelledError:
            if spec.effect is not Effect.UNSAFE:
                await self._frame.let_go(live, call.attempt)
            raise
        except (StepRefusedError, StoreUnavailableError):
            raise
        except TransientError as error:
            # The tool says that nothing happened.
            return await self._try_again(call, error.code, error.message)
        except TimeoutError:
            said = f"{spec.name} was cut after {call.order.timeout_seconds:g} s"
            return await self._unclear(call, "tool_timeout", said)
        except Exception as error:  # noqa: BLE001 - a tool may raise anything; it is put on record
            activity.logger.warning("tool %s failed", spec.name, exc_info=error)
            said = str(error) or type(error).__name__
            return await self._unclear(call, "tool_error", said[:2000])
        status = ToolCallStatus.SUCCEEDED if outcome.ok else ToolCallStatus.FAILED
        return await self._close(call.attempt, status, outcome)

    async def _unclear(self, call: _Call, code: str, said: str) -> ToolReply:
        """Decide about a call that may or may not have acted."""
        if call.spec.effect is Effect.UNSAFE:
            call_id = await self._frame.book.mark_unknown(call.attempt, said)
            return ToolReply(status="outcome_unknown", tool_call_id=call_id)
        return await self._try_again(call, code, said)

    async def _try_again(self, call: _Call, code: str, said: str) -> ToolReply:
        """Have Temporal try once more, or give the model the error after the last attempt."""
        if call.opened.failures + 1 < call.spec.attempts:
            count = await self._frame.book.fail(call.attempt)
            raise failures.again(
                TransientError(said), failures.backoff(count, call.order.retry_seconds)
            )
        status = ToolCallStatus.TIMEOUT if code == "tool_timeout" else ToolCallStatus.FAILED
        outcome = ToolOutcome(ok=False, content=said, error_code=code)
        return await self._close(call.attempt, status, outcome)

    async def _failed(self, call: _Call, error: Exception) -> Exception:
        """Count a failure of ours, and say whether the tool may be called again."""
        named = failures.ours(error, call.order.run_id, call.order.step_id)
        if call.spec.effect is Effect.UNSAFE:
            # Its step stays open: the next opening finds that nobody knows what it did.
            return failures.again(named, failures.backoff(1, call.order.retry_seconds))
        count = await self._frame.book.fail(call.attempt)
        if count >= call.spec.attempts:
            return failures.final(named)
        return failures.again(named, failures.backoff(count, call.order.retry_seconds))

    async def _close(
        self, attempt: Attempt, status: ToolCallStatus, outcome: ToolOutcome
    ) -> ToolReply:
        await self._frame.book.close_tool(attempt, status, outcome)
        is_invalid = outcome.error_code == INVALID_ARGUMENTS
        return ToolReply(status=status.value, invalid=is_invalid)


def _invocation(call: _Call, args: dict[str, object]) -> ToolInvocation:
    return ToolInvocation(
        run_id=call.order.run_id,
        tool_call_id=call.opened.tool_call_id or "",
        idempotency_key=call.opened.idempotency_key,
        name=call.spec.name,
        args=args,
        timeout_seconds=call.order.timeout_seconds,
    )


def _parsed(text: str) -> dict[str, object] | None:
    """Return the arguments, None when they are no JSON object."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
