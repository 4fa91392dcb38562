"""Failures, in the three shapes that callers expect."""

from typing import Annotated

from pydantic import Field

from api.shapes.pieces import CodeAndMessage, Shape


class FieldError(Shape):
    """One wrong field."""

    field: str
    message: str


class ProblemOut(Shape):
    """A failure, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(description="Stable; the text is for people.")]
    request_id: str
    reason: Annotated[
        str | None, Field(description="Which cap or limit was reached, as `max_concurrent`.")
    ] = None
    errors: list[FieldError] | None = None
    decision: Annotated[
        str | None, Field(description="Of `approval_decided`: approved or rejected.")
    ] = None
    decided_by: Annotated[
        str | None, Field(description="Of `approval_decided`: the credential that was first.")
    ] = None
    decided_at: Annotated[
        str | None, Field(description="Of `approval_decided`: when, as ISO-8601 in UTC.")
    ] = None


class SeedErrorOut(Shape):
    """A failure on a seed's path."""

    error: CodeAndMessage


class OpenAiFault(Shape):
    """What went wrong, as OpenAI says it."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAiErrorOut(Shape):
    """A failure on an OpenAI path."""

    error: OpenAiFault
