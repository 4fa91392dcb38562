"""`decide_unverified`: an answer that was sent to a workflow, brought to the store like any other.

Side effect: the decision's row and event. Idempotency: the first answer counts. Nothing is raised
for an answer that does not count: the reply says why.
"""

import logging
from dataclasses import dataclass
from enum import StrEnum

from temporalio import activity

from activities import failures
from domain.approval import REASON_CHARS, UNVERIFIED, Answer
from domain.deciding import ApprovalBook
from domain.errors import (
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    OrchestratorError,
    PermanentError,
)
from domain.event import encode_json
from domain.order import DecisionOrder, DecisionReply
from domain.records import KeyRing

_log = logging.getLogger(__name__)
_WORDS = {"approve": True, "approved": True, "reject": False, "rejected": False}


class TakesUnverified(StrEnum):
    """Whether answers count that nobody signed."""

    AUTO = "auto"
    """While no API key is usable: then everybody here is the operator."""
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class DecisionPorts:
    """What judging an answer needs."""

    approvals: ApprovalBook
    keys: KeyRing


class DecisionActivities:
    """Answers by signal and update."""

    def __init__(self, ports: DecisionPorts, takes: TakesUnverified = TakesUnverified.AUTO) -> None:
        self._ports = ports
        self._takes = takes

    @activity.defn(name="decide_unverified")
    async def decide_unverified(self, run_id: str, order: DecisionOrder) -> DecisionReply:
        """Put the answer on record if it is one, may be given this way, and comes first."""
        try:
            await self._decide(run_id, order)
        except PermanentError as error:
            _log.warning("a decision sent to run %s does not count: %s", run_id, error.message)
            return DecisionReply(accepted=False, said=f"{error.code}: {error.message}")
        except OrchestratorError as error:
            raise failures.named(error) from error
        return DecisionReply(accepted=True, said=f"{order.decision} by {UNVERIFIED}")

    async def _decide(self, run_id: str, order: DecisionOrder) -> None:
        if not await self._may():
            raise ForbiddenError(
                "decisions by Temporal signal are not taken here: use the API with a key that has"
                " the scope approve"
            )
        approved = _WORDS.get(order.decision.lower())
        if approved is None:
            raise InvalidRequestError(f"the decision is approve or reject, not {order.decision!r}")
        approval = await self._ports.approvals.get_approval(None, order.approval_id)
        if approval.run_id != run_id:
            raise NotFoundError(f"run {run_id} has no approval {order.approval_id}")
        _check(order)
        edited = None if order.edited_args is None else encode_json(order.edited_args)
        said = Answer(
            approved=approved,
            by=UNVERIFIED,
            reason=order.reason,
            edited_args=edited,
            args_digest=order.args_digest,
        )
        await self._ports.approvals.decide(None, order.approval_id, said)

    async def _may(self) -> bool:
        if self._takes is TakesUnverified.AUTO:
            return not await self._ports.keys.has_keys()
        return self._takes is TakesUnverified.ON


def _check(order: DecisionOrder) -> None:
    """Hold an answer to what the API holds one to.

    Raises:
        InvalidRequestError: it has a field that nobody knows, or says too much.
    """
    unknown = ", ".join(sorted(order.model_extra or {}))
    if unknown:
        raise InvalidRequestError(f"a decision by signal has no field {unknown}")
    if len(order.reason or "") > REASON_CHARS:
        raise InvalidRequestError(f"a reason has at most {REASON_CHARS} characters")
