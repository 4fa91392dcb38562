"""Whether an approval may count: what it would let run is ruled on and checked like any call.

All of it inside the deciding transaction, before anything is written: a refused answer leaves the
question as it was.
"""

import json

from adapters.store.approvals import rulings
from adapters.store.approvals.gate import ruled
from adapters.store.approvals.rulings import Judged
from adapters.store.database.tx import Row, Tx
from domain.approval import Answer, Remember, edit_of
from domain.errors import ConflictError, InvalidRequestError
from domain.event import EventDraft
from domain.jsonschema import problems
from domain.policy import PolicyDecision, Ruling, is_asked_anyway
from domain.run import RunSpec
from domain.tool import Effect


def check_form(said: Answer) -> None:
    """Refuse an answer that makes no sense, whatever it is about.

    Raises:
        InvalidRequestError: says why.
    """
    if not said.approved and (said.edited_args is not None or said.remember != Remember.NONE):
        raise InvalidRequestError("edited_args and remember go with an approval only")
    if said.edited_args is None:
        return
    try:
        value = json.loads(said.edited_args)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("edited_args is no JSON") from error
    if not isinstance(value, dict):
        raise InvalidRequestError("edited_args is a JSON object")


def check_approval(tx: Tx, run: Row, call: Row, said: Answer) -> tuple[list[EventDraft], Judged]:
    """Return the `policy_decision` about edited arguments, if there are any, and the ruling.

    What the policy would ask about this very approval answers.

    Raises:
        InvalidRequestError: the edit does not fit the tool's schema, or nothing can be remembered.
        ConflictError: the policy blocks what would run.
    """
    edited = edit_of(call["args"], said)
    if edited is not None:
        _check_schema(run, call, edited)
    judged = rulings.judge(tx, run, call if edited is None else {**call, "args": edited})
    what = f"call {call['tool_call_id']}" if edited is None else "the edited arguments"
    if judged.ruling.decision is PolicyDecision.BLOCK:
        raise ConflictError(
            f"the tool policy blocks {what}: {judged.ruling.reason}; nothing was decided"
        )
    if said.remember != Remember.NONE:
        _check_memorable(call, judged)
    if edited is None:
        return [], judged
    ruling = Ruling(judged.ruling.decision, f"{what}: {judged.ruling.reason}")
    return [ruled(call, ruling, ":edited")], judged


def _check_schema(run: Row, call: Row, edited: str) -> None:
    tools = RunSpec.model_validate_json(run["spec"]).tools
    spec = next((tool for tool in tools if tool.name == call["tool_name"]), None)
    wrong = problems(spec.parameters, json.loads(edited)) if spec else []
    if wrong:
        said = f"the edited arguments do not fit {call['tool_name']}: {'; '.join(wrong)}"
        raise InvalidRequestError(f"{said[:2000]}; nothing was decided")


def _check_memorable(call: Row, judged: Judged) -> None:
    effect = Effect(call["effect"])
    if is_asked_anyway(call["tool_name"], effect, is_tainted=judged.is_tainted):
        raise InvalidRequestError(
            f"this cannot be remembered: {call['tool_name']} has an effect and untrusted text is in"
            " the turn, where each call is asked about whatever was remembered; approve it without"
            " `remember`"
        )
