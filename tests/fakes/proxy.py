"""Model calls that are no step, with nothing behind them but memory."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from domain.chat import TokenUsage, split_model
from domain.errors import BudgetExhaustedError, ModelNotConfiguredError, OrchestratorError
from domain.spending import NewCall, OpenedCall, PriceOverride
from domain.step import CallBill
from domain.upstream import RawRequest, Reply


@dataclass
class FakeCalls:
    """A ledger in memory. `limit_pico` caps what is held and spent together."""

    opened: dict[str, NewCall] = field(default_factory=dict)
    bills: dict[str, CallBill] = field(default_factory=dict)
    price: PriceOverride | None = None
    limit_pico: int | None = None
    refusals: dict[str, OrchestratorError] = field(default_factory=dict)
    """By model: why its calls may not be made."""
    trouble: OrchestratorError | None = None
    """Why nothing can be closed."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def open_call(self, call: NewCall) -> OpenedCall:
        if call.model in self.refusals:
            raise self.refusals[call.model]
        if self.limit_pico is not None and self.held + (call.pico or 0) > self.limit_pico:
            raise BudgetExhaustedError("the budget does not cover the call")
        self.opened[call.call_id] = call
        return OpenedCall(self.price)

    async def close_call(self, call_id: str, bill: CallBill) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.bills.setdefault(call_id, bill)
        self.closed.set()

    @property
    def held(self) -> int:
        bills, calls = self.bills, self.opened
        spent = sum(bill.cost_pico or 0 for bill in bills.values())
        return spent + sum(call.pico or 0 for name, call in calls.items() if name not in bills)

    @property
    def bill(self) -> CallBill:
        """The only bill there is."""
        (bill,) = self.bills.values()
        return bill


class FakePrices:
    """One microdollar an input token, two an output token; `unpriced/...` has no price."""

    def note_unpriced(self, model: str) -> None:
        """Tell nobody."""

    def cost(self, model: str, usage: TokenUsage) -> Decimal | None:
        if model.startswith("unpriced/"):
            return None
        tokens = usage.input_tokens + 2 * usage.output_tokens
        return Decimal(tokens) / 1_000_000


@dataclass
class FakeReply:
    """An answer in blocks; one that is an error is raised, one that is an event waited for."""

    given: Sequence[bytes | OrchestratorError | asyncio.Event]
    usage: TokenUsage | None = None
    stop_reason: str | None = None
    is_complete: bool = False
    is_closed: bool = False
    has_begun: bool = False
    seen: int = 0
    final_usage: TokenUsage | None = None

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        try:
            for at, block in enumerate(self.given):
                if isinstance(block, OrchestratorError):
                    raise block
                if isinstance(block, asyncio.Event):
                    await block.wait()
                    continue
                self.has_begun = True
                self.seen += len(block)
                if at == len(self.given) - 1:
                    self.is_complete, self.usage = True, self.final_usage
                    self.stop_reason = "stop"
                yield block
        finally:
            self.is_closed = True


@dataclass
class FakeRaw:
    """Providers that speak OpenAI's format: `raw/...` does, the offline models do not."""

    answers: dict[str, Callable[[], FakeReply]] = field(default_factory=dict)
    asked: list[RawRequest] = field(default_factory=list)
    replies: list[FakeReply] = field(default_factory=list)

    def passes(self, model: str) -> bool:
        provider = split_model(model)[0]
        if provider not in {"raw", "unpriced", "offline"}:
            raise ModelNotConfiguredError(f"there is no provider {provider}")
        return provider != "offline"

    def ask(self, request: RawRequest) -> Reply:
        self.asked.append(request)
        reply = self.answers.get(request.model, lambda: FakeReply([b"{}"]))()
        self.replies.append(reply)
        return reply
