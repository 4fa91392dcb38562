"""Tools that clients bring: as ours, and requests for them as callers see those."""

from collections.abc import Sequence

from api.requests import ClientToolBody
from api.views import View, data_of, iso, tool_view
from domain.clients import Beat, Dispatch, ToolHost, ToolRequest
from domain.errors import InvalidRequestError
from domain.malformed import broken_arguments
from domain.tool import Audience, ClientSide, Effect, Offline, ToolSpec


def host_tools(bodies: Sequence[ClientToolBody]) -> tuple[ToolSpec, ...]:
    """Return what a tool host registers.

    Raises:
        InvalidRequestError: two have the same name, or the schema of one is broken.
    """
    names = [body.name for body in bodies]
    if len(set(names)) < len(names):
        raise InvalidRequestError("two of the tools have the same name")
    return tuple(_tool(body, Audience.HOSTS, None, Offline.FAIL) for body in bodies)


def run_tools(bodies: Sequence[ClientToolBody], host_id: str | None) -> tuple[ToolSpec, ...]:
    """Return the tools that a run is started with.

    Raises:
        InvalidRequestError: one fails while its client is away, and no host is named; or the
            schema of one is broken.
    """
    audience = Audience.OWNER if host_id is None else Audience.HOST
    tools = tuple(_tool(body, audience, host_id, Offline.WAIT) for body in bodies)
    if host_id is None and any(tool.client and tool.client.offline == "fail" for tool in tools):
        raise InvalidRequestError(
            "offline `fail` needs a tool_host_id: of no other client it is known who is there"
        )
    return tools


def _tool(
    body: ClientToolBody, audience: Audience, host_id: str | None, offline: Offline
) -> ToolSpec:
    _check_arguments(body)
    client = ClientSide(
        audience=audience,
        host_id=host_id,
        offline=Offline(body.offline) if body.offline else offline,
        result_schema=body.result_schema,
    )
    return ToolSpec(
        name=body.name,
        description=body.description,
        parameters=body.parameters,
        effect=Effect(body.effect),
        timeout_seconds=body.timeout_seconds,
        attempts=1,
        source="client",
        untrusted=body.untrusted,
        client=client,
    )


def _check_arguments(body: ClientToolBody) -> None:
    wrong = broken_arguments(body.parameters)
    if wrong:
        said = "; ".join(f"parameters.{place}" for place in wrong)
        raise InvalidRequestError(f"tool {body.name}: {said[:1000]}")


def host_view(host: ToolHost, now_ms: int) -> View:
    """Return a tool host."""
    return {
        "host_id": host.host_id,
        "tools": [tool_view(tool) for tool in host.tools],
        "lease_seconds": host.lease_ms / 1000,
        "is_there": host.alive_until > now_ms,
        "alive_until": iso(host.alive_until),
        "created_at": iso(host.created_at),
        "updated_at": iso(host.updated_at),
    }


def request_view(request: ToolRequest) -> View:
    """Return a request, its arguments as data. There is no token in it."""
    return {
        "tool_call_id": request.tool_call_id,
        "run_id": request.run_id,
        "tool_name": request.tool_name,
        "args": data_of(request.args),
        "effect": request.effect.value,
        "idempotency_key": request.idempotency_key,
        "host_id": request.host_id,
        "status": request.status.value,
        "dispatch": request.dispatch,
        "holder": request.holder,
        "lease_until": iso(request.lease_until),
        "deadline": iso(request.expires_at),
    }


def dispatch_view(dispatch: Dispatch) -> View:
    """Return a request that was handed out, with its token: shown to the one who took it."""
    return request_view(dispatch.request) | {"token": dispatch.token}


def beat_view(beat: Beat, now_ms: int) -> View:
    """Return what a host is told when it was heard of."""
    return host_view(beat.host, now_ms) | {"kept": list(beat.kept), "lost": list(beat.lost)}
