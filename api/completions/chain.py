"""From a request to an answer that has begun: one model after the other until one does.

Only before the first content: from then on an answer is one model's, whatever happens to it.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from api.access import Access
from api.completions.asking import Ask
from api.completions.calls import Ledger, OpenCall
from api.completions.translated import TranslatedReply
from api.completions.wire import error_chunk
from api.ports import ProxyPorts
from domain.errors import (
    BudgetExhaustedError,
    CircuitOpenError,
    ModelAuthError,
    ModelError,
    ModelNotConfiguredError,
    ModelRequestError,
    NotSupportedError,
    OrchestratorError,
    PriceUnknownError,
    ReplyTooLargeError,
    StreamIncompleteError,
)
from domain.ports import Clock, Ids, ModelCatalog
from domain.tiers import Choice
from domain.upstream import RawRequest, Reply

_NEXT = (
    ModelError,
    ModelRequestError,
    ModelAuthError,
    ModelNotConfiguredError,
    NotSupportedError,
    ReplyTooLargeError,
    CircuitOpenError,
    PriceUnknownError,
)
"""Failures after which the next model of a chain is asked."""


def _goes_on(error: OrchestratorError) -> bool:
    """Whether the next model of a chain is asked after a failure."""
    return isinstance(error, _NEXT) or (isinstance(error, BudgetExhaustedError) and error.degrades)


@dataclass(slots=True)
class Begun:
    """An answer whose first content is here. `failed` are the models that were asked in vain."""

    model: str
    call: OpenCall
    reply: Reply
    rest: AsyncGenerator[bytes, None]
    first: bytes
    failed: Sequence[str] = ()

    @property
    def headers(self) -> dict[str, str]:
        """Return who answers, and who should have."""
        headers = {"x-model": self.model}
        if self.failed:
            headers["x-fallback-from"] = ",".join(self.failed)
        return headers

    async def body(self) -> bytes:
        """Return an answer that is no stream; it is on the ledger by then."""
        await self.rest.aclose()
        await self.call.done(self.reply)
        return self.first

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield a stream to its end, on the ledger before that is sent, or to an error chunk."""
        try:
            block: bytes | None = self.first
            while block is not None:
                if self.reply.is_complete:
                    await self.call.done(self.reply)
                yield block
                block = await anext(self.rest, None)
        except OrchestratorError as error:
            await self.call.failed(error, self.reply)
            yield error_chunk(error)
        finally:
            await self.rest.aclose()
            self.call.cut(self.reply)


class Chain:
    """Asks models in turn."""

    def __init__(
        self, ports: ProxyPorts, models: ModelCatalog, ledger: Ledger, clock: Clock, ids: Ids
    ) -> None:
        self._ports = ports
        self._models = models
        self._ledger = ledger
        self._clock = clock
        self._ids = ids

    async def begin(self, access: Access, ask: Ask, choice: Choice) -> Begun:
        """Return the answer of the first model that begins one.

        Raises:
            OrchestratorError: why the last of them did not, or why no other may be asked.
        """
        failed: list[str] = []
        models, route = choice.models, choice.decision or None
        for at, model in enumerate(models):
            try:
                begun = await self._ask(access, ask, model, None if at else route)
            except OrchestratorError as error:
                if at == len(models) - 1 or not _goes_on(error):
                    raise
                failed.append(model)
            else:
                begun.failed = failed
                return begun
        raise ModelNotConfiguredError("the chain of models is empty")

    async def _ask(
        self, access: Access, ask: Ask, model: str, route: dict[str, Any] | None
    ) -> Begun:
        reply = self._reply(ask, model)
        call = await self._ledger.open(access, ask, model, route)
        blocks = reply.blocks()
        try:
            first = await anext(blocks, None)
            if first is None:
                raise StreamIncompleteError(f"{model} ended without an answer")
        except OrchestratorError as error:
            await call.failed(error, reply)
            raise
        except asyncio.CancelledError:
            call.cut(reply)
            raise
        return Begun(model, call, reply, blocks, first)

    def _reply(self, ask: Ask, model: str) -> Reply:
        if self._ports.raw.passes(model):
            return self._ports.raw.ask(
                RawRequest(model, ask.body, ask.cap, ask.is_stream, ask.shows_usage)
            )
        return TranslatedReply(
            self._models.resolve(model),
            ask,
            model,
            answer_id=self._ids.new("chatcmpl").replace("_", "-", 1),
            created=self._clock.now_ms() // 1000,
        )
