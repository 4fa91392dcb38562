"""The engine: starts, wakes and cancels the workflows of runs, and looks at what it waits for.

The one place that knows that run `run_x` is workflow `run-x`, and that Temporal has run ids of its
own. Every call is bounded in time, because the SDK's own limit is per attempt.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    GetClusterInfoRequest,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
    ResetStickyTaskQueueRequest,
)
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.live import LiveAttempts
from domain.errors import EngineUnavailableError
from domain.order import StartTicket, Timing, order_of, summary_of_run
from domain.run import Run, RunSpec
from workflows.naming import run_id_of, workflow_id
from workflows.run import RunWorkflow

__all__ = [
    "EngineSettings",
    "TemporalGateway",
    "engine_identity",
    "has_closed",
    "run_id_of",
    "workflow_id",
]

T = TypeVar("T")
_log = logging.getLogger(__name__)

RPC_SECONDS = 10.0
STUCK_ATTEMPTS = 5
"""Of one workflow task, after which its run is stuck: a mistake in the code, no accident."""
_LIST_PAGE = 1000
_OPEN_RUNS = "WorkflowType = 'RunWorkflow' AND ExecutionStatus = 'Running'"
_MISMATCH = (
    "engine_mismatch: this store belongs to another Temporal cluster or namespace; point"
    " TEMPORAL_ADDRESS back at it, or use another DATABASE_URL"
)

_AGENT_ID = SearchAttributeKey.for_keyword("AgentId")
_SESSION_ID = SearchAttributeKey.for_keyword("SessionId")
_GOAL_ID = SearchAttributeKey.for_keyword("GoalId")
_RUN_KIND = SearchAttributeKey.for_keyword("RunKind")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Where and how runs are started."""

    task_queue: str
    timing: Timing = field(default_factory=Timing)
    ui_url: str | None = None
    namespace: str = "default"


class TemporalGateway:
    """The `RunGateway` over one client.

    Args:
        live: the attempts of this process, stopped at once by a cancel; None in an API alone.
    """

    def __init__(
        self, client: Client, settings: EngineSettings, live: LiveAttempts | None = None
    ) -> None:
        self._client = client
        self._settings = settings
        self._live = live
        self.home: str | None = None
        """The identity of the store's own engine; None while any will do."""
        self.mismatch: str | None = None
        """A sentence while the cluster is not the store's own; nothing is started then."""

    @property
    def client(self) -> Client:
        """Return the connection."""
        return self._client

    @property
    def task_queue(self) -> str:
        """Return where workflows run."""
        return self._settings.task_queue

    async def start(self, run: Run, spec: RunSpec, *, queued: bool) -> None:
        if self.mismatch is not None:
            raise EngineUnavailableError(self.mismatch)
        order = order_of(run, spec, queued=queued, timing=self._settings.timing)
        try:
            await _bounded(
                self._client.start_workflow(
                    RunWorkflow.run,
                    order,
                    id=workflow_id(run.run_id),
                    task_queue=self._settings.task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    request_eager_start=True,
                    task_timeout=timedelta(seconds=5),
                    static_summary=summary_of_run(run, spec),
                    search_attributes=_attributes(run),
                    priority=Priority(priority_key=run.priority, fairness_key=run.owner[:64]),
                )
            )
        except WorkflowAlreadyStartedError:
            _log.info("run %s has ended already", run.run_id)
        except _MissingError as error:
            raise EngineUnavailableError("the Temporal server cannot start runs") from error

    def ticket(self, run: Run, spec: RunSpec, *, queued: bool) -> StartTicket:
        """Return what a workflow needs to start a run's workflow as its child."""
        return StartTicket(
            workflow_id=workflow_id(run.run_id),
            order=order_of(run, spec, queued=queued, timing=self._settings.timing),
            summary=summary_of_run(run, spec),
            attributes={pair.key.name: str(pair.value) for pair in _attributes(run)},
            priority=run.priority,
            fairness_key=run.owner[:64],
        )

    async def cancel(self, run_id: str) -> None:
        request = asyncio.ensure_future(
            _bounded(self._client.get_workflow_handle(workflow_id(run_id)).cancel())
        )
        # The request is on its way; then the attempts here stop without waiting for a heartbeat.
        await asyncio.sleep(0)
        if self._live is not None:
            self._live.cancel(run_id)
        await _ignoring_missing(request)

    async def wake(self, run_id: str) -> None:
        handle = self._client.get_workflow_handle(workflow_id(run_id))
        await _ignoring_missing(_bounded(handle.signal("wake")))

    async def check(self) -> str | None:
        try:
            async with asyncio.timeout(2):
                identity = await engine_identity(self._client)
        except (RPCError, TimeoutError) as error:
            return f"the Temporal server does not answer: {error or 'timeout'}"
        # Asked anew each time: behind an address there may be another server than a moment ago.
        self.mismatch = None if self.home in (None, identity) else _MISMATCH
        return self.mismatch

    def ui_url(self, run_id: str) -> str | None:
        if self._settings.ui_url is None:
            return None
        base = self._settings.ui_url.rstrip("/")
        return f"{base}/namespaces/{self._settings.namespace}/workflows/{workflow_id(run_id)}"

    async def describe(self, run_id: str) -> WorkflowExecutionDescription | None:
        """Return the latest execution of a run's workflow, None when the engine knows none.

        Raises:
            EngineUnavailableError: the engine does not answer.
        """
        # Without a Temporal run id: a continued or reset run also shows closed executions.
        handle = self._client.get_workflow_handle(workflow_id(run_id))
        try:
            return await _bounded(handle.describe())
        except _MissingError:
            return None

    async def look(self, run_id: str) -> tuple[str, str]:
        """Return `missing`, `open` or `closed`, and how a closed or missing one ended.

        Of an open one: the attempt of its workflow task once that keeps failing, else nothing.

        Raises:
            EngineUnavailableError: the engine does not answer, or is not the store's own.
        """
        if self.mismatch is not None:
            raise EngineUnavailableError(self.mismatch)
        found = await self.describe(run_id)
        if found is None:
            return "missing", "missing"
        if found.status is None or not has_closed(found):
            attempt = found.raw_description.pending_workflow_task.attempt
            return "open", str(attempt) if attempt >= STUCK_ATTEMPTS else ""
        return "closed", found.status.name.lower()

    async def list_open(self) -> AbstractSet[str]:
        """Return the runs whose workflow the engine's list shows as open; it may lag a little.

        Raises:
            EngineUnavailableError: the engine does not answer, or is not the store's own.
        """
        if self.mismatch is not None:
            raise EngineUnavailableError(self.mismatch)
        found: set[str] = set()
        request = ListWorkflowExecutionsRequest(
            namespace=self._client.namespace, page_size=_LIST_PAGE, query=_OPEN_RUNS
        )
        # The plain call: the client's own iterator builds an object of many parts for each.
        while True:
            page = await self._list_page(request)
            found |= {run_id_of(one.execution.workflow_id) for one in page.executions}
            if not page.next_page_token:
                return found
            request.next_page_token = page.next_page_token

    async def _list_page(
        self, request: ListWorkflowExecutionsRequest
    ) -> ListWorkflowExecutionsResponse:
        try:
            return await _bounded(self._client.workflow_service.list_workflow_executions(request))
        except _MissingError as error:
            raise EngineUnavailableError("the Temporal server has no list of runs") from error

    async def is_wanted(self, run_id: str, activity_id: str, attempt: int) -> bool:
        """Whether the engine waits for this very attempt of a pending activity."""
        try:
            found = await self.describe(run_id)
        except EngineUnavailableError:
            return False
        pending = found.raw_description.pending_activities if found else ()
        return any(
            one.activity_id == activity_id
            and one.attempt == attempt
            and one.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            for one in pending
        )

    async def fail_attempt(self, token: bytes) -> bool:
        """Fail one attempt of a dead worker so that the next begins now; False when it is stale.

        By token, because by id the failure would hit whatever attempt is current.
        """
        lost = ApplicationError(
            "the worker was lost", type="WorkerLost", next_retry_delay=timedelta(milliseconds=1)
        )
        handle = self._client.get_async_activity_handle(task_token=token)
        try:
            await _bounded(handle.fail(lost))
        except _MissingError:
            return False
        return True

    async def reset_sticky(self, run_id: str) -> None:
        """Free a run's workflow tasks from the queue of a dead worker."""
        request = ResetStickyTaskQueueRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id(run_id)),
        )
        await _ignoring_missing(
            _bounded(self._client.workflow_service.reset_sticky_task_queue(request))
        )


async def engine_identity(client: Client) -> str:
    """Return `<cluster id>/<namespace id>`, which a restored or foreign server does not have.

    Raises:
        RPCError: the server does not answer.
    """
    service = client.workflow_service
    cluster = await service.get_cluster_info(GetClusterInfoRequest())
    namespace = await service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    return f"{cluster.cluster_id}/{namespace.namespace_info.id}"


def has_closed(found: WorkflowExecutionDescription) -> bool:
    """Whether an execution has ended (and was not continued as a new one)."""
    return found.status not in (
        WorkflowExecutionStatus.RUNNING,
        WorkflowExecutionStatus.CONTINUED_AS_NEW,
    )


def _attributes(run: Run) -> TypedSearchAttributes:
    pairs = [SearchAttributePair(_RUN_KIND, run.kind.value)]
    for key, value in (
        (_AGENT_ID, run.agent_id),
        (_SESSION_ID, run.session_id),
        (_GOAL_ID, run.goal_id),
    ):
        if value:
            pairs.append(SearchAttributePair(key, value))
    return TypedSearchAttributes(pairs)


class _MissingError(Exception):
    """The engine does not know the workflow, or the attempt, that it was asked about."""


async def _bounded(call: Awaitable[T]) -> T:
    """Wait for an RPC, but not for ever.

    Raises:
        EngineUnavailableError: it did not answer in time, is not there, or refuses: whatever the
            reason, the reconciler tries again.
        _MissingError: what was asked about is not there.
    """
    try:
        # Not `wait_for`: Python 3.11's loses a cancel that comes together with the answer.
        async with asyncio.timeout(RPC_SECONDS):
            return await call
    except TimeoutError as error:
        raise EngineUnavailableError("the Temporal server did not answer in time") from error
    except RPCError as error:
        # A missing namespace says nothing about what is in it.
        if error.status is RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
            raise _MissingError from error
        raise EngineUnavailableError(f"the Temporal server refused: {error}") from error


async def _ignoring_missing(call: Awaitable[object]) -> None:
    """Wait for an RPC about a workflow that may have ended or never begun."""
    with contextlib.suppress(_MissingError):
        await call
