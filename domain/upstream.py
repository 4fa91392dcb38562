"""The way to providers that speak OpenAI's wire format, for callers who speak it too.

Their bytes go through as they come. Knows no HTTP.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Protocol

from domain.chat import TokenUsage


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A chat completion to ask for as its caller wrote it.

    `body` is OpenAI's; its `model` is replaced by the name after the provider. `output_tokens`
    is what is asked for at most: sent along where `body` itself says nothing about it.
    """

    model: str
    body: dict[str, Any]
    output_tokens: int
    is_stream: bool
    shows_usage: bool = True
    """Whether the caller of a stream sees the chunk with the usage, which is always asked for."""


class Reply(Protocol):
    """A chat completion on its way to a caller, in OpenAI's wire format."""

    @property
    def usage(self) -> TokenUsage | None:
        """What the provider says was used; None until it did."""
        ...

    @property
    def stop_reason(self) -> str | None:
        """Why the answer ended; None until it did."""
        ...

    @property
    def has_begun(self) -> bool:
        """Whether any of the answer came, also if it was not handed out: the provider worked."""
        ...

    @property
    def seen(self) -> int:
        """About how many bytes of the answer came, thinking too."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether what was handed out last ends the answer."""
        ...

    def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the answer, once: whole events of a stream in blocks, or one body.

        The request is sent when the first block is asked for, and the first block of a stream is
        the first with content: what came before it stands at its head. No retries are made.
        Closing the generator, also by cancellation, closes the provider's socket at once.

        Raises:
            ModelError: and its leaves, when another model may help; after the first block, too.
            ModelRequestError, ModelAuthError, ReplyTooLargeError: when a retry will not.
            NotSupportedError: the provider cannot do what is asked.
        """
        ...


class RawModels(Protocol):
    """The models whose providers speak OpenAI's wire format."""

    def passes(self, model: str) -> bool:
        """Say whether `<provider>/<name>` can be asked with `ask`.

        Raises:
            ModelNotConfiguredError: unknown provider, or one without credentials here.
        """
        ...

    def ask(self, request: RawRequest) -> Reply:
        """Return the answer to come.

        Raises:
            ModelNotConfiguredError: unknown provider, or one without credentials here.
        """
        ...
