"""An answer of a model with a wire format of its own, written in OpenAI's as it arrives."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from api.completions.asking import Ask
from api.completions.reading import chat_request
from api.completions.wire import DONE, Chunks, completion
from domain.chat import ChatChunk, ChatRequest, HiddenDelta, StreamEnd, TokenUsage, split_model
from domain.errors import StreamIncompleteError
from domain.event import encode_json
from domain.ports import ChatModel


class TranslatedReply:
    """A `Reply` over a `ChatModel`; `answer_id` and `created` (in seconds) stand in each chunk.

    Raises:
        NotSupportedError, InvalidRequestError: the request cannot be translated.
    """

    def __init__(
        self, chat: ChatModel, ask: Ask, model: str, *, answer_id: str, created: int
    ) -> None:
        self._chat = chat
        self._ask = ask
        self._head = (answer_id, created, model)
        self._request: ChatRequest = chat_request(ask, model)
        self._end: StreamEnd | None = None
        self._texts: list[str] = []
        self.has_begun = False
        self.seen = 0
        self.is_complete = False

    @property
    def usage(self) -> TokenUsage | None:
        """What the provider says was used."""
        return self._end.usage if self._end else None

    @property
    def stop_reason(self) -> str | None:
        """Why the answer ended."""
        return self._end.stop_reason if self._end else None

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the answer; see the port."""
        stream = cast("AsyncGenerator[ChatChunk]", self._chat.stream(self._request))
        chunks = Chunks(*self._head)
        opening = chunks.role() if self._ask.is_stream else b""
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                self.has_begun = True
                if isinstance(piece, HiddenDelta):
                    self.seen += piece.size
                    continue
                if isinstance(piece, StreamEnd):
                    self._end = piece
                    continue
                self.seen += len(piece.text.encode("utf-8", "replace"))
                if self._ask.is_stream:
                    yield opening + chunks.text(piece.text)
                    opening = b""
                else:
                    self._texts.append(piece.text)
        if self._end is None:
            provider = split_model(self._head[2])[0]
            raise StreamIncompleteError(f"the stream of {provider} ended without an end")
        self.is_complete = True
        yield opening + self._closing(chunks, self._end)

    def _closing(self, chunks: Chunks, end: StreamEnd) -> bytes:
        if not self._ask.is_stream:
            text = "".join(self._texts)
            whole = completion(self._head, text, end.tool_calls, end.stop_reason, end.usage)
            return encode_json(whole).encode()
        last = chunks.calls(end.tool_calls) if end.tool_calls else b""
        last += chunks.finish(end.stop_reason)
        if self._ask.shows_usage and end.usage is not None:
            last += chunks.usage(end.usage)
        return last + DONE
