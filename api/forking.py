"""Bodies of forks, retries and re-drives, and what they stand for."""

from typing import Annotated

from pydantic import ConfigDict, Field

from api.access import Access
from api.moments import Moment, ms_of
from api.requests import Body, Input, JsonObject, LimitsBody, Name
from api.services import Services
from api.starting import claim
from domain.agent import Limits
from domain.fork import Edits


class RetryBody(Body):
    """What is different in the new run; what is left out stays as it was."""

    models: Annotated[
        list[Name] | None, Field(min_length=1, max_length=20, description="Another chain.")
    ] = None
    limits: Annotated[
        LimitsBody | None,
        Field(description="Caps to replace, up to what the agent allows now."),
    ] = None
    priority: Annotated[int, Field(ge=1, le=5)] | None = None
    deadline: Annotated[
        Moment | None, Field(description="Of the new run; that of the first one does not count.")
    ] = None
    metadata: JsonObject | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"models": ["offline/echo"], "limits": {"max_turns": 20}}]}
    )


class RedriveBody(RetryBody):
    """What is different in the new run. With an `input` it begins anew with that."""

    input: Input | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input": "The same, in one sentence."}]}
    )


class ForkBody(RedriveBody):
    """Where to fork, and what is different in the new run."""

    from_turn: Annotated[
        int,
        Field(ge=0, le=10_000, description="How many turns to keep; 0 keeps the question only."),
    ]

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"from_turn": 1, "input": "Now in French, please."}]}
    )


def edits_of(
    desk: Services, access: Access, route: str, target: str, key: str | None, body: Body | None
) -> Edits:
    """Return what a body changes; `target` is the run or dead letter in the path."""
    sent = body if isinstance(body, RetryBody) else RetryBody()
    said = getattr(sent, "input", None)
    limits = sent.limits.model_dump() if sent.limits else {}
    return Edits(
        content=said if said is None or isinstance(said, str) else said.content,
        models=tuple(sent.models or ()),
        limits=Limits.model_validate(limits),
        priority=sent.priority,
        deadline_at=ms_of(sent.deadline, desk.ports.clock.now_ms()),
        metadata=sent.metadata,
        idempotency=claim(route, access, target, key, sent),
    )
