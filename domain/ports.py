"""The promises that adapters keep. Each port has a contract test over every implementation."""

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Protocol

from domain.agent import AgentChunk, AgentInvocation
from domain.chat import ChatChunk, ChatRequest, ModelInfo, TokenUsage
from domain.run import Run, RunSpec
from domain.tool import (
    ToolInvocation,
    ToolOutcome,
    ToolSpec,
)


class Clock(Protocol):
    """Where time comes from."""

    def now_ms(self) -> int:
        """Return wall-clock milliseconds since the epoch, UTC."""
        ...


class Ids(Protocol):
    """Where ids come from."""

    def new(self, prefix: str) -> str:
        """Return a new unique, time-ordered id that begins with `prefix` and an underscore."""
        ...


class ChatModel(Protocol):
    """One provider's way to complete a chat."""

    def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the reply: any number of deltas, then exactly one `StreamEnd`.

        Closing the iterator (also by cancellation) closes the provider's socket at once. No retries
        are made here. Nothing but content is yielded: keep-alives are swallowed.

        Raises:
            ModelError: and its leaves, when another attempt may help.
            ModelRequestError, ModelAuthError, ReplyTooLargeError: when it will not.
        """
        ...


class ModelCatalog(Protocol):
    """Which models there are, and how to reach them."""

    def resolve(self, model: str) -> ChatModel:
        """Return the provider of `<provider>/<name>`.

        Raises:
            ModelNotConfiguredError: unknown provider, or one without credentials here.
        """
        ...

    def models(self) -> Sequence[ModelInfo]:
        """Return the known models, configured providers first."""
        ...

    def providers(self) -> Sequence[str]:
        """Return the names of all providers, whether or not they can be called here."""
        ...


class PriceList(Protocol):
    """What a call costs."""

    def cost(self, model: str, usage: TokenUsage) -> Decimal | None:
        """Return USD for `usage` of `<provider>/<name>`, exact, or None while unpriced."""
        ...

    def note_unpriced(self, model: str) -> None:
        """Tell the operator, once, that calls of a model are billed without a price."""
        ...


class Toolbox(Protocol):
    """The tools that this process can run."""

    def specs(self) -> Sequence[ToolSpec]:
        """Return every registered tool, by name."""
        ...

    async def run(self, invocation: ToolInvocation) -> ToolOutcome:
        """Execute one call once and return what the model may read.

        A failure that the tool declares as "nothing happened" (bad arguments, `ToolFailedError`) is
        an outcome with `ok` False. Cancellation stops the tool, a blocking one by killing its
        process.

        Raises:
            TimeoutError: the tool was cut at its timeout; whether it acted is unknown.
            TransientError: the tool declares that nothing happened and a retry may help.
            Exception: anything else; whether the tool acted is unknown.
        """
        ...


class AgentInvoker(Protocol):
    """The way to an external agent."""

    def stream(self, invocation: AgentInvocation) -> AsyncIterator[AgentChunk]:
        """Yield the agent's stream: deltas and states, then exactly one `AgentDone`.

        Closing the iterator closes the connection.

        Raises:
            AgentUnavailableError: not reachable, timed out, or ended without `done`.
            AgentFailedError: it sent `error`, or broke the protocol.
            AddressRefusedError: its endpoint may not be contacted.
        """
        ...


class RunGateway(Protocol):
    """The engine that carries runs. Every call is safe to repeat."""

    async def start(self, run: Run, spec: RunSpec, *, queued: bool) -> None:
        """Start the workflow of an accepted run; one that is started or has ended is left alone.

        Raises:
            EngineUnavailableError: the reconciler will start it.
        """
        ...

    async def cancel(self, run_id: str) -> None:
        """Ask the engine, and this process, to stop a run.

        Raises:
            EngineUnavailableError: the reconciler will ask again.
        """
        ...

    async def wake(self, run_id: str) -> None:
        """Tell a waiting run to look at the store again.

        Raises:
            EngineUnavailableError: the reconciler will wake it.
        """
        ...

    async def check(self) -> str | None:
        """Return None when the engine serves and is the store's own, else a sentence."""
        ...

    def ui_url(self, run_id: str) -> str | None:
        """Return the address of the run in the Temporal UI, if one is known."""
        ...
