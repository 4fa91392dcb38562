"""What is said to a model and what it answers. Knows no vendor's wire format."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Role = Literal["system", "user", "assistant", "tool"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class ToolCallRequest(_Value):
    """One call of a tool that a model asks for.

    `call_id` is the provider's own id, unique within the reply. `arguments` is the JSON text as the
    model wrote it: it is parsed and checked where the tool runs, so that a malformed text can be
    answered with an error the model sees.
    """

    call_id: str
    name: str
    arguments: str


class ChatMessage(_Value):
    """One message of a conversation, in the order a provider expects it."""

    role: Role
    content: str
    tool_calls: tuple[ToolCallRequest, ...] = ()
    tool_call_id: str | None = None
    """For role `tool`: the `call_id` this message answers."""
    images: tuple[str, ...] = ()
    """URLs of images that belong to the text: `data:` or `https:`."""


class ToolDefinition(_Value):
    """A tool as a model sees it: a name, what it does, and a JSON Schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


class ChatWishes(_Value):
    """What a caller may ask of a call beyond the conversation; None leaves it to the provider.

    A provider that cannot do what is asked refuses the call (`NotSupportedError`) and names the
    field as OpenAI spells it. `seed` is a wish and no promise: it may be dropped.
    """

    tool_choice: Literal["auto", "none", "required"] | None = None
    tool_name: str | None = None
    """The one tool that has to be called."""
    parallel_tool_calls: bool | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    """Texts before which the answer ends."""
    response_schema: dict[str, Any] | None = None
    """JSON Schema that the answer's text has to fit; an empty one asks for any JSON object."""


NO_WISHES = ChatWishes()


class ChatRequest(_Value):
    """One model call. `model` is the name after the provider (`gpt-x`, not `openai/gpt-x`)."""

    model: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolDefinition, ...] = ()
    max_output_tokens: int = 4096
    temperature: float | None = None
    wishes: ChatWishes = NO_WISHES


class TokenUsage(_Value):
    """Tokens of one call as the provider reports them. `input_tokens` includes cached ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class TextDelta(_Value):
    """A piece of the answer's text, in order."""

    text: str


class HiddenDelta(_Value):
    """A piece of the reply that is no text: thinking, a tool call's arguments. Size in bytes."""

    size: int


class StreamEnd(_Value):
    """The provider's terminal marker arrived: the reply is whole.

    `tool_calls` are complete here; they are never handed out before the end, so that a truncated
    stream cannot run a tool. `usage` is None when the provider sent none. `thought_bytes` is the
    size of what was streamed besides text and calls: thinking, which is billed as output.
    """

    stop_reason: str
    tool_calls: tuple[ToolCallRequest, ...] = ()
    usage: TokenUsage | None = None
    thought_bytes: int = 0


ChatChunk = TextDelta | HiddenDelta | StreamEnd


class ModelInfo(_Value):
    """A model that may be named in a chain. `model` is `<provider>/<name>`.

    Prices are decimal strings in USD per million tokens, None while unknown.
    """

    model: str
    provider: str
    configured: bool
    context_window: int | None = None
    input_per_mtok_usd: str | None = None
    output_per_mtok_usd: str | None = None
    cached_input_per_mtok_usd: str | None = None
    price_source: str | None = None
    """Who says what it costs: `api`, `file` or `bundled`."""


def split_model(model: str) -> tuple[str, str]:
    """Split `provider/name` at the first slash; the rest of the name may hold slashes.

    Raises:
        ValueError: there is no provider or no name.
    """
    provider, slash, name = model.partition("/")
    if not (provider and slash and name):
        raise ValueError(f"model {model!r} is not of the form <provider>/<name>")
    return provider, name
