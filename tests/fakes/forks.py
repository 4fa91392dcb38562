"""The runs in memory, as forks see them."""

from collections.abc import Mapping

from domain.errors import NotFoundError
from domain.fork import ForkSource
from domain.run import Run, RunSpec


class FakeForks:
    """The runs of a `FakeRuns`, as forks see them."""

    def __init__(self, runs: Mapping[str, Run], specs: Mapping[str, RunSpec]) -> None:
        self._runs = runs
        self._specs = specs

    async def source(self, owner: str | None, run_id: str) -> ForkSource:
        run = self._runs.get(run_id)
        if run is None or owner not in {None, run.owner}:
            raise NotFoundError(f"there is no run {run_id}")
        return ForkSource(run, self._specs[run_id], "what was asked")
