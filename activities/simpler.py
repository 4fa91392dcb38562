"""Answers that need no model: what an agent says when its models cannot. Source: seed E."""

from collections.abc import AsyncIterator

from domain.agent import KEYWORD, STATIC
from domain.chat import ChatChunk, ChatRequest, StreamEnd, TextDelta, TokenUsage
from domain.errors import ModelRequestError
from domain.step import KEPT, WRITTEN, Opened

LEVELS = {KEYWORD: "keyword", STATIC: "static", KEPT: "kept"}
"""How an answer is labelled; one of a model behind the chain is `simple`."""


def is_simpler(model: str) -> bool:
    """Whether no provider is asked under this name."""
    return model.startswith(WRITTEN)


def level_of(model: str, *, is_behind: bool) -> str | None:
    """Return how an answer is labelled, None for one of the chain itself."""
    return LEVELS.get(model) or ("simple" if is_behind else None)


class WrittenAnswer:
    """A `ChatModel` that says what was written beforehand, for one call.

    Args:
        model: which of the levels is asked.
        opened: the call, with what the agent says then.
    """

    def __init__(self, model: str, opened: Opened) -> None:
        self._model = model
        self._opened = opened

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer in one piece.

        Raises:
            ModelRequestError: there is none for this request; the next level is tried.
        """
        text = self._text()
        if text is None:
            raise ModelRequestError(f"the agent has no answer for {request.model}")
        yield TextDelta(text=text)
        yield StreamEnd(stop_reason="stop", usage=TokenUsage())

    def _text(self) -> str | None:
        behind = self._opened.spec.degradation
        if self._model == KEPT:
            return self._opened.rejected[0] if self._opened.rejected else None
        if self._model == KEYWORD:
            return behind.keyword_answer(self._opened.content)
        return behind.static
