"""Every implementation of the port `ChatModel`, ready to be asked the same things."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from adapters.llm.anthropic import AnthropicChat
from adapters.llm.catalog import Provider as ChatProvider
from adapters.llm.offline import OfflineChat
from adapters.llm.ollama import ollama_chat
from adapters.llm.openai import OpenAIAccount, OpenAIChat
from adapters.llm.patience import Patience
from adapters.llm.reply import ReplyLimits
from domain.chat import ChatChunk, ChatMessage, ChatRequest, ToolDefinition
from tests.stub.http import StubServer
from tests.stub.provider import LogEntry, Provider

KEY = "sk-canary-7f3a9b2c4d5e"
REMOTE = ("openai", "anthropic", "ollama")
ALL = ("offline", *REMOTE)

_SAME = {
    "five words": ("tokens=5", "[[tokens=5]]"),
    "endless words": ("tokens=100000 gap_ms=10", "[[tokens=100000 gap_ms=10]]"),
    "two calls": (
        'call calculator {"a": 1}\ncall time\n---\nsay it says {result}',
        '[[tool=calculator args={"a": 1}]] [[tool=time]]',
    ),
    "usage": (
        "say x\nusage input=10 output=5 cached=4",
        "[[say=x usage_input=10 usage_output=5 usage_cached=4]]",
    ),
    "cut at length": ("say x\nstop=length", "[[say=x]]"),
    "rate limited": ("fail rate_limited retry_after=1.5", "[[status=429 retry_after=1.5]]"),
    "unavailable": ("fail unavailable", "[[status=500]]"),
    "refused key": ("fail auth", "[[status=401]]"),
    "bad request": ("fail bad_request", "[[status=400]]"),
    "half a stream": ("tokens=5\nfail incomplete after=3", "[[tokens=5 half_close_after=3]]"),
    "malformed": ("fail malformed", "[[garbage=invalid_json]]"),
    "too large": ("fail too_large", "[[huge_text=5MB]]"),
    "stall": ("stall", "[[stall]]"),
    "stall later": ("tokens=5 hang_after=3", "[[tokens=5 stall_after=3]]"),
}
"""A behaviour in the two languages: the offline script's and the stub's marks."""


@dataclass(slots=True)
class Subject:
    """One implementation. `provider` is the stub behind it; the offline one has it idle."""

    name: str
    chat: ChatProvider
    provider: Provider
    server: StubServer

    def ask(self, text: str, *after: ChatMessage, tools: tuple[str, ...] = ()) -> ChatRequest:
        """Return a request; `text` is a behaviour of the table, or marks for the stub."""
        script, marks = _SAME.get(text, (text, text))
        said = script if self.name == "offline" else marks
        return ChatRequest(
            model="script" if self.name == "offline" else "stub-model",
            messages=(
                ChatMessage(role="system", content="Be brief."),
                ChatMessage(role="user", content=said),
                *after,
            ),
            tools=tuple(
                ToolDefinition(name=name, description="", parameters={"type": "object"})
                for name in tools
            ),
        )

    def stream(
        self, text: str, *after: ChatMessage, tools: tuple[str, ...] = ()
    ) -> AsyncIterator[ChatChunk]:
        """Return the stream of `ask`."""
        return self.chat.stream(self.ask(text, *after, tools=tools))

    async def last(self) -> LogEntry:
        """Return how the last request ended at the stub, once it has."""
        return (await self.provider.settled())[-1]


@dataclass(slots=True)
class Bench:
    """Builds subjects against one stub and closes them in the end."""

    provider: Provider
    server: StubServer
    built: list[ChatProvider] = field(default_factory=list)

    def subject(
        self, name: str, patience: Patience | None = None, limits: ReplyLimits | None = None
    ) -> Subject:
        """Return the implementation called `name`."""
        chat = self._chat(name, patience, limits)
        self.built.append(chat)
        return Subject(name, chat, self.provider, self.server)

    def _chat(
        self, name: str, patience: Patience | None, limits: ReplyLimits | None
    ) -> ChatProvider:
        url = self.server.url
        if name == "openai":
            account = OpenAIAccount(KEY, f"{url}/v1")
            return OpenAIChat(account, patience=patience, limits=limits)
        if name == "anthropic":
            return AnthropicChat(KEY, base_url=url, patience=patience, limits=limits)
        if name == "ollama":
            return ollama_chat(f"127.0.0.1:{self.server.port}", patience=patience, limits=limits)
        return OfflineChat(patience=patience)


@asynccontextmanager
async def benches() -> AsyncIterator[Bench]:
    """Serve a stub and give subjects against it."""
    provider = Provider()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(provider.serve())
        bench = Bench(provider, server)
        try:
            yield bench
        finally:
            for chat in bench.built:
                await chat.aclose()
