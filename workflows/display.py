"""What the Temporal UI shows of a run: where it stands, and what it waits on."""

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

with workflow.unsafe.imports_passed_through():
    from domain.order import Progress, RunOrder

WAITING_ON = SearchAttributeKey.for_keyword("WaitingOn")


def show_waiting(what: str | None) -> None:
    """Note in the search attributes what the run waits on; None: it goes on."""
    update: SearchAttributeUpdate[str] = (
        WAITING_ON.value_unset() if what is None else WAITING_ON.value_set(what)
    )
    workflow.upsert_search_attributes([update])


def show_details(order: RunOrder, done: Progress, now: str) -> None:
    """Tell the UI where the run stands; costs no history."""
    workflow.set_current_details(
        f"**{now}**\n\n- run `{order.run_id}`, agent `{order.agent_id}`\n"
        f"- session `{order.session_id}`\n- turns {done.turn}, tool calls {done.tool_calls},"
        f" tokens {done.usage.input_tokens} + {done.usage.output_tokens}"
    )
