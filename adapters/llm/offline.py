"""The offline provider: answers without any model, deterministically, and says so.

| model | what it answers |
|---|---|
| `offline/echo` | the last user message |
| `offline/assistant` | simple questions, with the tools it was given (offline_assistant.py) |
| `offline/script` | what a script in the last user message says (offline_script.py) |

Every reply begins with `[offline] `. It streams word by word, at once unless a script asks for
pauses. Usage is estimated: four characters of input to a token, a word of output each. A reply of
more words than the request's `max_output_tokens` is cut there, and so are its tool calls.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import replace

from adapters.llm.offline_assistant import plan_assistant
from adapters.llm.offline_plan import Failure, Plan
from adapters.llm.offline_script import plan_script
from adapters.llm.patience import Patience
from domain.chat import (
    ChatChunk,
    ChatRequest,
    StreamEnd,
    TextDelta,
    TokenUsage,
    ToolCallRequest,
)
from domain.errors import ModelRequestError, ModelTimeoutError, NotSupportedError

LABEL = "[offline] "
"""Begins every reply, so that nobody takes it for a model's."""
MODELS = ("assistant", "echo", "script")
_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4
_YIELD_EVERY = 64
"""Words after which others get the event loop, when no pause is asked for."""
_REMEMBERED_FAILURES = 1024
"""Ids of scripted failures that are counted; the oldest is forgotten first."""


class OfflineChat:
    """A `ChatModel` that needs no network. Its one state counts scripted failures by id."""

    def __init__(self, *, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._failures: OrderedDict[str, int] = OrderedDict()

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the reply as the port says.

        Raises:
            ModelRequestError: no such offline model, or a script that cannot be read.
            NotSupportedError: it is asked for what only a model can do.
            OrchestratorError: the failure that a script asks for.
        """
        _check(request)
        plan = _plan(request)
        failure = self._due(plan.failure)
        whole = plan.pieces(LABEL)
        pieces = whole[: request.max_output_tokens]
        count = len(pieces)
        if count < len(whole):
            plan = replace(plan, calls=(), stop="length")
        start = asyncio.get_running_loop().time() + plan.first_seconds
        for at, piece in enumerate(pieces):
            await self._pause(plan, start, at)
            if failure is not None and failure.after == at:
                raise failure.error()
            if plan.hang_after == at:
                await self._hang(at)
            yield TextDelta(text=piece if plan.clock is None else plan.clock(piece))
        if failure is not None:
            raise failure.error()
        if plan.hang_after is not None:
            await self._hang(count)
        yield StreamEnd(
            stop_reason=plan.stop_reason,
            tool_calls=_tool_calls(request, plan),
            usage=_usage(request, plan, count),
        )

    async def warm(self) -> None:
        """Do nothing: there is nothing to load."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    async def _pause(self, plan: Plan, start: float, at: int) -> None:
        if plan.gap_seconds or plan.first_seconds:
            wait = start + at * plan.gap_seconds - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(wait)
        elif at % _YIELD_EVERY == _YIELD_EVERY - 1:
            await asyncio.sleep(0)

    async def _hang(self, sent: int) -> None:
        seconds = self._patience.idle_seconds if sent else self._patience.first_seconds
        await asyncio.sleep(seconds)
        raise ModelTimeoutError(f"offline sent nothing more within {seconds:g} seconds")

    def _due(self, failure: Failure | None) -> Failure | None:
        """Return `failure` unless its times are used up."""
        if failure is None or failure.times is None:
            return failure
        used = self._failures.pop(failure.id, 0)
        self._failures[failure.id] = used + 1
        while len(self._failures) > _REMEMBERED_FAILURES:
            self._failures.popitem(last=False)
        return failure if used < failure.times else None


def _check(request: ChatRequest) -> None:
    """Refuse what a reply without a model behind it cannot keep."""
    wishes = request.wishes
    asked = {
        "tool_choice": wishes.tool_name or wishes.tool_choice == "required",
        "stop": wishes.stop,
        "response_format": wishes.response_schema is not None,
        "messages": any(message.images for message in request.messages),
    }
    for field, is_asked in asked.items():
        if is_asked:
            what = "images" if field == "messages" else field
            raise NotSupportedError(f"offline models do not know {what}", field=field)


def _plan(request: ChatRequest) -> Plan:
    if request.wishes.tool_choice == "none" and request.tools:
        request = request.model_copy(update={"tools": ()})
    if request.model == "echo":
        users = (m.content for m in reversed(request.messages) if m.role == "user")
        return Plan(text=next(users, ""))
    if request.model == "assistant":
        return plan_assistant(request)
    if request.model == "script":
        return plan_script(request)
    names = ", ".join(f"offline/{name}" for name in MODELS)
    raise ModelRequestError(f"there is no model offline/{request.model}; there are {names}")


def _tool_calls(request: ChatRequest, plan: Plan) -> tuple[ToolCallRequest, ...]:
    # The place in the conversation makes an id unique in it, and the same on every attempt.
    turn = len(request.messages)
    return tuple(
        ToolCallRequest(call_id=f"call_{turn}_{at}", name=name, arguments=arguments)
        for at, (name, arguments) in enumerate(plan.calls)
    )


def _usage(request: ChatRequest, plan: Plan, words: int) -> TokenUsage:
    characters = sum(len(message.content) for message in request.messages)
    estimate = characters // _CHARACTERS_PER_TOKEN + _TOKENS_PER_MESSAGE * len(request.messages)
    arguments = sum(len(text) for _, text in plan.calls) // _CHARACTERS_PER_TOKEN
    given = plan.usage
    return TokenUsage(
        input_tokens=given.get("input", estimate),
        output_tokens=given.get("output", words + arguments),
        cached_tokens=given.get("cached", 0),
    )
