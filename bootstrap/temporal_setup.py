"""Makes a Temporal namespace ready for us: it exists, keeps its history, knows our attributes.

Knows nothing of the server behind the client.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

SEARCH_ATTRIBUTES = ("AgentId", "SessionId", "GoalId", "RunKind", "WaitingOn")
"""Our five of a namespace's ten keywords; set at the start of a run, WaitingOn when it waits."""

_SPREAD_TIMEOUT = timedelta(seconds=20)
"""How long a cluster may take until every host knows a new name (2 s were seen)."""

_RETRY_SECONDS = 0.1

T = TypeVar("T")


async def prepare_namespace(client: Client, retention: timedelta) -> None:
    """Set the client's namespace up; repeated calls change nothing and take milliseconds.

    The Temporal UI shows a closed run for `retention`; our own event log is kept apart from it.

    Both settings are made here and not by the server's own flags, because those apply only when
    the namespace's row is created.

    Raises:
        RPCError: the namespace is missing, the caller may not change it, or the server is away.
    """
    await _set_retention(client, retention)
    missing = await _missing_attributes(client)
    if missing:
        await _add_attributes(client, missing)
        await retry_while_spreading(lambda: _query_attributes(client))


async def create_namespace(client: Client, retention: timedelta) -> None:
    """Create the client's namespace unless it exists, and prepare it (for clusters of our own)."""
    try:
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=client.namespace,
                workflow_execution_retention_period=_duration(retention),
            ),
            retry=True,
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise
    await retry_while_spreading(lambda: prepare_namespace(client, retention))


def is_spreading(error: RPCError) -> bool:
    """Whether a cluster refuses a name that it accepted a moment ago: its caches are behind."""
    if error.status is RPCStatusCode.NOT_FOUND:
        return "amespace" in error.message
    # "Namespace x has no mapping defined for search attribute AgentId" at a start, "column name
    # 'AgentId' is not a valid search attribute" in a query.
    return error.status is RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message


async def retry_while_spreading(attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call that uses a name made a moment ago, for as long as `is_spreading` says."""
    deadline = time.monotonic() + _SPREAD_TIMEOUT.total_seconds()
    while True:
        try:
            return await attempt()
        except RPCError as error:
            if not is_spreading(error) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(_RETRY_SECONDS)


async def _set_retention(client: Client, retention: timedelta) -> None:
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(
            namespace=client.namespace,
            config=NamespaceConfig(workflow_execution_retention_ttl=_duration(retention)),
        ),
        retry=True,
    )


async def _missing_attributes(client: Client) -> list[str]:
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), retry=True
    )
    return [name for name in SEARCH_ATTRIBUTES if name not in known.custom_attributes]


async def _add_attributes(client: Client, names: list[str]) -> None:
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes=dict.fromkeys(names, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
        ),
        retry=True,
    )


async def _query_attributes(client: Client) -> None:
    """Use every attribute once; refused until the server's visibility knows them."""
    query = " AND ".join(f"{name} = 'x'" for name in SEARCH_ATTRIBUTES)
    await client.workflow_service.count_workflow_executions(
        CountWorkflowExecutionsRequest(namespace=client.namespace, query=query), retry=True
    )


def _duration(value: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(value)
    return duration
