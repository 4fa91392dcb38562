"""How large a model call can get at most, before anybody has made it.

No tokenizer makes more tokens of a text than it has bytes, and no reply is longer than the
`max_tokens` it was asked with. So a call that is cut is never billed below what it cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.chat import ChatMessage, TokenUsage
from domain.event import encode_json
from domain.money import MOST_PICO, to_pico
from domain.run import RunSpec

MESSAGE_TOKENS = 16
"""What a provider adds around each message, at most."""
TOOLS_TOKENS = 1024
"""What a provider says about tools in general, once there are any."""
USEFUL_TOKENS = 256
"""A budget that leaves no reply of this length counts as used up: a cut answer is no use."""
_BASE_TOKENS = 64
_BYTES_PER_TOKEN = 4
"""As everywhere where tokens are guessed."""
_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class CallBound:
    """What one call can use at most. `pico` is None while its model has no price."""

    input_tokens: int
    output_tokens: int
    pico: int | None


NOTHING_BOUND = CallBound(0, 0, 0)
"""Of a step that asks no model."""


def likely_usage(bound: CallBound, seen: int, padding: int = 0) -> TokenUsage:
    """Return the tokens of a call whose provider never told them: a guess, no bound.

    `seen` is how many bytes of the reply came, `padding` how much of the input's bound stands for
    nothing that was sent. The reply of a call without a bound is as long as it is.
    """
    said = -(-seen // _BYTES_PER_TOKEN)
    sent = max(0, bound.input_tokens - padding)
    return TokenUsage(
        input_tokens=-(-sent // _BYTES_PER_TOKEN),
        output_tokens=min(bound.output_tokens, said) if bound.output_tokens else said,
    )


def padding_of(spec: RunSpec) -> int:
    """Return how much of the bound of a run's requests is for what providers may add to them."""
    return _BASE_TOKENS + (TOOLS_TOKENS if spec.tools else 0)


@dataclass(frozen=True, slots=True)
class Rates:
    """Picodollars per token, upper bounds; None while nobody knows."""

    input: int | None
    output: int | None

    @property
    def is_free(self) -> bool:
        """Whether calls cost nothing, so that no money has to be held."""
        return self.input == 0 and self.output == 0

    def cost(self, input_tokens: int, output_tokens: int) -> int | None:
        """Return what so many tokens cost at most."""
        if self.input is None or self.output is None:
            return None
        return min(MOST_PICO, self.input * input_tokens + self.output * output_tokens)


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """Prices that somebody set for a model, USD per million tokens."""

    input_usd: Decimal
    output_usd: Decimal
    cached_input_usd: Decimal

    def cost(self, usage: TokenUsage) -> int:
        """Return what a call cost, in picodollars, rounded up."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        total = (
            self.input_usd * (usage.input_tokens - cached)
            + self.cached_input_usd * cached
            + self.output_usd * usage.output_tokens
        )
        return min(MOST_PICO, to_pico(total / _MILLION))

    @property
    def rates(self) -> Rates:
        """Return the upper bounds of what a token costs."""
        most = max(self.input_usd, self.cached_input_usd)
        return Rates(to_pico(most / _MILLION), to_pico(self.output_usd / _MILLION))


def bytes_of(messages: Sequence[ChatMessage]) -> int:
    """Return an upper bound of the tokens of a conversation."""
    return sum(_bytes_of(message) for message in messages)


def _bytes_of(message: ChatMessage) -> int:
    calls = sum(
        len(call.name.encode()) + len(call.arguments.encode("utf-8", "replace")) + MESSAGE_TOKENS
        for call in message.tool_calls
    )
    return len(message.content.encode("utf-8", "replace")) + calls + MESSAGE_TOKENS


def fixed_bytes(spec: RunSpec) -> int:
    """Return an upper bound of the tokens that every request of a run begins with."""
    tools = sum(
        len(encode_json(tool.parameters).encode())
        + len(f"{tool.name}{tool.description}".encode())
        + MESSAGE_TOKENS
        for tool in spec.tools
    )
    instructions = len(spec.instructions.encode("utf-8", "replace")) + MESSAGE_TOKENS
    return instructions + tools + padding_of(spec)
