"""What answers are made of."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, JsonValue

from api.late import LateModel

Money = Annotated[str | None, Field(description="USD, null while unpriced.", examples=["0.0125"])]
JsonObject = dict[str, Any]
JsonSchemaExtra = dict[str, JsonValue]


class Shape(LateModel):
    """An answer; nothing else stands in it."""

    model_config = ConfigDict(extra="forbid")


class Page(Shape):
    """What every list ends with."""

    has_more: bool
    next_cursor: str | None


class CodeAndMessage(Shape):
    """A stable code and a sentence."""

    code: str
    message: str


class MessageText(Shape):
    """Who said what. `stop_reason` is why the provider stopped, where it said so.

    `length` means that the provider's own limit cut the answer.
    """

    role: str
    content: str
    stop_reason: str | None = None


def example(value: JsonValue) -> JsonSchemaExtra:
    """Return what puts an example into a shape's schema."""
    return {"examples": [value]}
