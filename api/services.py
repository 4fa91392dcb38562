"""What a route has at hand: the app's parts, and who asks."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from api.access import Access, Authenticator
from api.background import Background
from api.completions.answering import Completions
from api.metrics import Metrics
from api.ports import ApiConfig, ApiPorts
from api.sse import StreamKeeper
from domain.auth import sees_every_owner
from domain.budgeting import Budgeting
from domain.clients import Dispatching
from domain.deciding import Deciding
from domain.errors import ForbiddenError
from domain.fork import Forking
from domain.intake import Intake
from domain.principal import Scope
from domain.records import Directory, EventLog, RunBook
from domain.scheduling import Scheduling


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one app."""

    ports: ApiPorts
    config: ApiConfig
    intake: Intake
    deciding: Deciding
    dispatching: Dispatching
    forking: Forking
    budgeting: Budgeting
    scheduling: Scheduling
    completions: Completions
    authenticator: Authenticator
    keeper: StreamKeeper
    background: Background
    metrics: Metrics
    version: str
    started_at: int

    @property
    def runs(self) -> RunBook:
        """Return the runs on record."""
        return self.ports.intake.runs

    @property
    def directory(self) -> Directory:
        """Return agents, sessions and transcripts."""
        return self.ports.intake.directory

    @property
    def events(self) -> EventLog:
        """Return the event log."""
        return self.ports.events

    def link(self, run_id: str) -> str | None:
        """Return the run's address in the Temporal UI."""
        return self.ports.intake.gateway.ui_url(run_id)


async def _services(request: Request) -> Services:
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


class Needs:
    """The dependency that refuses a caller without `scope`.

    With `agents` an external agent's token is let through: the route then says what it may do.
    """

    def __init__(self, scope: Scope, *, agents: bool = False) -> None:
        self.scope = scope
        self.agents = agents

    async def __call__(self, request: Request) -> Access:
        """Return who asks."""
        access = request.scope["access"]
        assert isinstance(access, Access)
        if access.who.agent_id is None or not self.agents:
            access.who.require(self.scope)
        return access


class NeedsOperator(Needs):
    """The dependency that refuses all but the operator: for what shows every owner's doings."""

    def __init__(self) -> None:
        super().__init__(Scope.ADMIN)

    async def __call__(self, request: Request) -> Access:
        """Return who asks."""
        access = await super().__call__(request)
        if not sees_every_owner(access.who):
            raise ForbiddenError("only the operator may do this: it concerns every owner")
        return access


Desk = Annotated[Services, Depends(_services)]
Reader = Annotated[Access, Depends(Needs(Scope.READ))]
Invoker = Annotated[Access, Depends(Needs(Scope.INVOKE))]
Approver = Annotated[Access, Depends(Needs(Scope.APPROVE))]
Admin = Annotated[Access, Depends(Needs(Scope.ADMIN))]
AgentOrInvoker = Annotated[Access, Depends(Needs(Scope.INVOKE, agents=True))]
AgentOrAdmin = Annotated[Access, Depends(Needs(Scope.ADMIN, agents=True))]
Operator = Annotated[Access, Depends(NeedsOperator())]
