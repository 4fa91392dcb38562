"""Asking the models of a run in their order, until one gives an answer that counts.

A model that fails hands over to the next one of the chain. One whose answer was found too weak
hands over to the next rung: the first model of a higher tier. Behind the chain may stand simpler
answers, which are better than none.
"""

from collections.abc import Awaitable, Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.order import ChatOrder, ChatReply, RunOrder
    from domain.step import KEPT, llm_step
    from workflows.outcomes import FINAL_CODES, RunFailedError

Ask = Callable[[ChatOrder], Awaitable[ChatReply]]


async def ask_chain(order: RunOrder, turn: int, left: float | None, ask: Ask) -> ChatReply:
    """Return the first reply that counts. `left` is how long the run may still take, in seconds.

    Raises:
        RunFailedError: no model answered; it is the last one's failure.
    """
    models = order.models
    index, number = 0, 0
    failed: RunFailedError | None = None
    before: ChatOrder | None = None
    weak: ChatOrder | None = None
    while index < len(models):
        number += 1
        chat = ChatOrder(
            run_id=order.run_id,
            step_id=llm_step(turn, number),
            model=models[index],
            has_next=index + 1 < len(models),
            retry_seconds=order.timing.retry_seconds,
            seconds_left=left,
            fallback_from=before.model if before and failed else None,
            fallback_reason=failed.code if failed else None,
            fallback_step=before.step_id if before else None,
            escalates=any(rung > index for rung in order.rungs),
            escalated_from=weak.step_id if weak else None,
            degraded=_is_degraded(order, index),
        )
        before = chat
        try:
            reply = await ask(chat)
        except RunFailedError as error:
            if error.code in FINAL_CODES:
                raise
            failed, index = error, index + 1
            continue
        if reply.weak is None:
            return reply
        failed, weak = None, chat
        index = next(rung for rung in order.rungs if rung > index)
    if weak is not None:
        return await ask(_keep(weak, turn, number + 1, failed))
    if failed is not None and failed.code == "budget_degraded":
        raise RunFailedError("budget_exhausted", failed.message, failed.step)
    raise failed or RunFailedError("model_not_configured", "the agent has no model")


def _is_degraded(order: RunOrder, index: int) -> bool:
    return order.degraded_from is not None and index >= order.degraded_from


def _keep(weak: ChatOrder, turn: int, number: int, failed: RunFailedError | None) -> ChatOrder:
    """Return the order to give the weak answer after all: nobody had a better one."""
    return weak.model_copy(
        update={
            "step_id": llm_step(turn, number),
            "model": KEPT,
            "has_next": False,
            "escalates": False,
            "fallback_from": None,
            "fallback_reason": failed.code if failed else None,
            "escalated_from": weak.step_id,
        }
    )
