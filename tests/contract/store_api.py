"""The API over a store, beside an engine that starts nothing."""

from dataclasses import replace

from api.ports import ApiPorts
from domain.learning.learning import Learning
from domain.run import Run, RunSpec
from tests.contract.store_engines import StoreBox


class QuietGateway:
    """An engine that starts nothing: what the store says is what is seen."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    async def start(self, run: Run, spec: RunSpec, *, queued: bool) -> None:
        return None

    async def cancel(self, run_id: str) -> None:
        self.cancelled.append(run_id)

    async def wake(self, run_id: str) -> None:
        return None

    async def check(self) -> str | None:
        return None

    def ui_url(self, run_id: str) -> str | None:
        return None


def ports_over(store: StoreBox, fakes: ApiPorts, gateway: QuietGateway) -> ApiPorts:
    """Return the API's ports with a store in place of the fakes."""
    intake = replace(
        fakes.intake,
        runs=store.runs,
        directory=store.directory,
        gateway=gateway,
        hosted=store.clients,
        health=store.health,
        learning=Learning(store.learning, store.clock),
    )
    return replace(
        fakes,
        intake=intake,
        events=store.log,
        approvals=store.approvals,
        clients=store.clients,
        keys=store.keys,
        goals=store.goals,
        budgets=store.budgets,
        agent_health=store.health,
        pins=store.pins,
        prices=store.prices,
        costs=store.costs,
        figures=store.figures,
    )
