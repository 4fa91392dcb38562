"""Chat completions of models: who may ask, and the answer as a response."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from api.access import Access
from api.background import Background
from api.completions.asking import Ask
from api.completions.calls import Ledger
from api.completions.chain import Chain
from api.completions.departure import WhileThere
from api.completions.naming import Names
from api.completions.wire import error_chunk
from api.ports import ApiConfig, ApiPorts
from api.sse import EventStream, StreamKeeper
from domain.errors import DrainingError, OrchestratorError, UnauthorizedError


class CompletionStream(EventStream):
    """An open answer, as clients of OpenAI read it."""

    farewell = error_chunk(DrainingError("this process stops; ask again"))

    def last_words(self, why: str | None, failure: OrchestratorError | None) -> bytes:
        """Return why the answer is not whole: its reader cannot resume it."""
        if failure is not None:
            return error_chunk(failure)
        if why == "revoked":
            return error_chunk(UnauthorizedError("the key of this answer was revoked"))
        return super().last_words(why, failure)

    def opening(self) -> bytes:
        """Return nothing: the official client takes every frame for a chunk."""
        return b""


@dataclass(frozen=True, slots=True)
class Completions:
    """Answers requests for models."""

    names: Names
    chain: Chain
    keeper: StreamKeeper

    async def answer(self, access: Access, ask: Ask, request: Request) -> Response:
        """Return a model's answer, or the stream of it.

        Raises:
            CallerGoneError: nobody waits for an answer any more.
            OrchestratorError: no model answers; nothing was sent.
        """
        choice = await self.names.chain(access, ask)
        if ask.is_stream:
            self.keeper.admit(access)
        async with WhileThere(request.receive):
            begun = await self.chain.begin(access, ask, choice)
            if not ask.is_stream:
                body = await begun.body()
                return Response(body, 200, begun.headers, media_type="application/json")
        return CompletionStream(self.keeper, begun.stream(), access, begun.headers)


def build(
    ports: ApiPorts, config: ApiConfig, keeper: StreamKeeper, behind: Background
) -> Completions:
    """Return what answers requests for models."""
    models, ids = ports.intake.models, ports.intake.ids
    ledger = Ledger(ports.proxy, config.proxy, ports.clock, ids, behind)
    chain = Chain(ports.proxy, models, ledger, ports.clock, ids)
    return Completions(Names(ports.proxy, models), chain, keeper)
