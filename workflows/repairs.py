"""Replies of which no call could run: the model reads why and may mend them, but not for ever."""

from collections.abc import Sequence

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.order import CallTicket
    from workflows import policies
    from workflows.outcomes import RunFailedError

_PATCH = "bounded_arguments"
"""Runs that met such arguments before this was there go on as they did."""


def count_repairs(before: int, calls: Sequence[CallTicket], *, has_run: bool) -> int:
    """Return how many replies in a row, with this one, asked for nothing that could run.

    Args:
        before: those until now.
        calls: of this reply, as far as the tools exist.
        has_run: whether any of them could be begun.

    Raises:
        RunFailedError: it was one too many.
    """
    if has_run or (calls and not workflow.patched(_PATCH)):
        return 0
    repairs = before + 1
    if repairs > policies.MAX_REPAIRS:
        said = f"the model asked {repairs} times in a row for what cannot run, at last for "
        raise RunFailedError("malformed_reply", said + _what(calls))
    return repairs


def _what(calls: Sequence[CallTicket]) -> str:
    if not calls:
        return "unknown tools"
    names = ", ".join(sorted({call.tool for call in calls}))[:200]
    return (
        f"{names} with arguments that are no JSON or not as its schema says (see the tool_result"
        f" of step {calls[-1].step_id})"
    )
