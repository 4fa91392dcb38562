"""Chat completions, as OpenAI documents them; of a request only what is read here."""

from typing import Any

from pydantic import ConfigDict, Field

from api.late import LateModel
from api.shapes.pieces import JsonObject, Shape, example


class CompletionBody(LateModel):
    """A chat completion to make. Other fields of OpenAI's are passed on to the provider."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra=example(
            {
                "model": "offline/assistant",
                "messages": [{"role": "user", "content": "What is 6 * 7?"}],
                "stream": True,
            }
        ),
    )

    model: str = Field(
        min_length=1,
        max_length=300,
        description=(
            "`<provider>/<name>`, a name that only one provider has, `auto`, `tier:complex`, or"
            " `agent:<id>`."
        ),
    )
    messages: list[JsonObject] = Field(min_length=1)
    stream: bool | None = None
    stream_options: JsonObject | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    n: int | None = Field(default=None, ge=1, le=128)
    tools: list[JsonObject] | None = None
    tool_choice: Any = None
    response_format: JsonObject | None = None


class CompletionOut(Shape):
    """A whole answer. A provider's own fields stand beside these."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: str
    created: int
    model: str
    choices: list[JsonObject]
    usage: JsonObject | None = None
